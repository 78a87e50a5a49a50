"""What a snapshot lacks: files left out of it, and content that is not on this machine."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ELSEWHERE = "a source has only what is in the commit: check it out and run there"
SHOWN_FILES = 5
"""Of those that only their owner may read: a source among them is missed."""


@dataclass
class Lacks:
    """Names of what a snapshot lacks.

    `pointers` are LFS files whose content was never fetched, `absent` submodules that are not
    checked out, `inactive` those that git's settings call inactive, `unnamed` those that
    .gitmodules does not name; `left_out` are untracked files that only their owner may read.
    `tracked_only` is why all untracked files are left out, if they are. `outside_git` says that the
    tree is in no repository, `fetched` that it is a commit that is not checked out here.
    """

    fetched: bool = False
    pointers: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    inactive: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    tracked_only: str = ""
    outside_git: bool = False

    def add(self, prefix: str, found: Mapping[str, Iterable[str]], tracked_only: str) -> None:
        """Add what a work tree lacks that lies at `prefix`: names by the list they belong to."""
        for kind, names in found.items():
            getattr(self, kind).extend(prefix + name for name in names)
        self.tracked_only = self.tracked_only or tracked_only

    def notes(self) -> list[str]:
        """A sentence for each kind of thing that was left out on purpose."""
        notes = []
        if self.tracked_only:
            notes.append(
                f"untracked files are left out of the snapshot: {self.tracked_only};"
                " `git add` takes them in"
            )
        if self.left_out:
            adding = "" if self.outside_git else "`git add` takes them in, or "
            notes.append(
                "left out of the snapshot, since everybody may read the Nix store and only their"
                f" owner may read them: {shown(self.left_out, SHOWN_FILES)}; {adding}`chmod go+rX`"
                " for them and the directories above"
            )
        if self.inactive:
            notes.append(f"the submodule {shown(self.inactive)} is inactive: passed over")
        return notes

    def check(self, is_excluded: Callable[[str], bool]) -> list[str]:
        """Refuse a snapshot that lacks content which jobs need; notes of what they do not need."""
        absent = [name for name in self.absent if not is_excluded(f"{name}/")]
        if absent:
            raise UsageError(
                f"the submodule {shown(absent)} is not checked out",
                ELSEWHERE
                if self.fetched
                else "run `git submodule update --init --recursive`, or remove its directory",
            )
        unnamed = [name for name in self.unnamed if not is_excluded(f"{name}/")]
        if unnamed:
            raise UsageError(
                f"git can't check out the submodule {shown(unnamed)}: .gitmodules doesn't name it",
                "`git rm --cached` it, then add its files; or leave it out by snapshot.exclude",
            )
        pointers = [name for name in self.pointers if not is_excluded(name)]
        if pointers:
            raise UsageError(
                f"{shown(pointers)} is a Git LFS pointer, its content was never fetched",
                ELSEWHERE if self.fetched else "run `git lfs pull`",
            )
        passed_over = [*self.absent, *self.unnamed, *self.pointers]
        if not passed_over:
            return []
        return [f"{shown(passed_over)} has no content here; snapshot.exclude leaves it out"]


def shown(names: list[str], count: int = 1) -> str:
    """The first of `names` and how many more there are, for a message."""
    first = names[:count]
    some = ", ".join(name.encode("utf-8", "backslashreplace").decode() for name in first)
    more = f" (and {len(names) - len(first)} more)" if len(names) > len(first) else ""
    return f"{some}{more}"
