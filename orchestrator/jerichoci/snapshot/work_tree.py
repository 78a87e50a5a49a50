"""The user's working tree and repository. Nothing of either is written."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine.gather import together
from jerichoci.snapshot.git import (
    GITLINK_MODE,
    NO,
    NO_REPOSITORY,
    Git,
    printed,
    split_names,
    unreadable,
)
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.machine.process import Completed

_UNACCEPTED = "git does not accept {} as a repository"
_BARE = "{} is bare, or has its work tree elsewhere"
_SETTINGS = r"^(status\.showuntrackedfiles$|core\.(filemode|symlinks)$|submodule\.)"


@dataclass(frozen=True)
class WorkTree:
    """A directory to take snapshots of: a git work tree's top, or any directory outside git.

    `git` is the user's own git there, None outside git. `private` is a path below `root`, with `/`
    at its end, that is never part of a snapshot: the state root, if it lies there.
    `tracked_only` is why untracked files are left out, if they are; with `whole`, nothing is.
    `settings` has those of the user's git that decide what is in it or differs, in git's order.
    """

    root: Path
    git: Git | None
    private: str | None
    tracked_only: str = ""
    whole: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    def path(self, name: str) -> str:
        """The path of what is called `name` (relative, as git prints it) in the tree."""
        return f"{self.root}/{name}"

    def is_private(self, name: str) -> bool:
        """Whether `name` is never part of a snapshot."""
        return self.private is not None and f"{name}/".startswith(self.private)


@dataclass(frozen=True)
class Head:
    """The user's HEAD: its commit and tree, both None before the first commit."""

    commit: str | None
    tree: str | None


async def find_work_tree(directory: Path, state_root: Path, *, whole: bool = False) -> WorkTree:
    """The work tree that `directory` is in, or `directory` itself outside git or with `whole`."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "give the directory to run in")
    directory = directory.resolve()
    if whole:
        return replace(_outside_git(directory, state_root), whole=True)
    git = Git(cwd=directory)
    found, settings = await together(
        git.run("rev-parse", "--is-inside-git-dir", "--is-inside-work-tree", "--show-cdup"),
        git.run("config", "-z", "--get-regexp", _SETTINGS),
    )
    git_dir, inside, up = (*os.fsdecode(found.stdout).split("\n", 2), "", "")[:3]
    is_bare = (git_dir, inside) == ("false", "false")
    if is_bare or NO_REPOSITORY in found.stderr:
        _refuse_own(directory, _BARE if is_bare else _UNACCEPTED)
        _refuse_home(directory)
        return _outside_git(directory, state_root)
    if inside != "true" or not found.ok:
        raise _not_a_work_tree(directory, found)
    root = Path(os.path.normpath(directory / up.removesuffix("\n")))
    if root != directory:
        _refuse_own(directory, _UNACCEPTED)
    private = _below(root, state_root)
    said = [entry.partition("\n")[::2] for entry in split_names(printed("config", settings))]
    untracked = dict(said).get("status.showuntrackedfiles", "")
    return WorkTree(
        root=root,
        git=Git(cwd=root),
        private=private,
        tracked_only=_tracked_only(root, untracked),
        settings=tuple(said),
    )


def _tracked_only(root: Path, setting: str) -> str:
    """Why untracked files are left out, if they are."""
    if setting.lower() in NO:
        return "git's setting status.showUntrackedFiles = no asks for it"
    # A home has private files; a setting that asks for untracked files takes them in.
    if not setting and _is_home(root):
        return "the repository is a whole home directory"
    return ""


async def read_head(tree: WorkTree, rev: str = "HEAD") -> Head:
    """The commit and tree the user has checked out, or those of another `rev`."""
    if tree.git is None:
        return Head(None, None)
    asked = f"{rev}^{{commit}}\n{rev}^{{tree}}\n".encode()
    answer = await tree.git.out("cat-file", "--batch-check=%(objectname)", stdin=asked)
    ids = [None if " " in line else line for line in answer.decode().splitlines()]
    return Head(ids[0], ids[1])


async def submodules_not_there(tree: WorkTree, directories: list[str]) -> dict[str, list[str]]:
    """Submodules among the empty `directories`: "absent", "inactive", and not in .gitmodules."""
    empty = sorted(await _empty_submodules(tree, directories))
    known = await _inactive(tree, tree.git or Git(cwd=tree.root)) if empty else {}
    kinds = {"absent": False, "inactive": True, "unnamed": None}
    return {kind: [n for n in empty if known.get(n) is value] for kind, value in kinds.items()}


async def _empty_submodules(tree: WorkTree, directories: list[str]) -> list[str]:
    if tree.git is None:
        # A fetched commit has no other empty directories.
        places = os.walk(tree.root) if tree.whole else ()
        empty = [place for place, below, files in places if not below and not files]
        return [os.path.relpath(place, tree.root) for place in empty]
    if not directories:
        return []
    literal = replace(tree.git, extra={"GIT_LITERAL_PATHSPECS": "1"})
    staged = await literal.names("ls-files", "--stage", "-z", "--", *directories)
    return [entry.partition("\t")[2] for entry in staged if entry.startswith(GITLINK_MODE)]


async def _inactive(tree: WorkTree, git: Git) -> dict[str, bool]:
    """Whether the settings exclude submodules from being checked out, by path."""
    file = await git.found("config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\.")
    stated = dict(entry.partition("\n")[::2] for entry in split_names(file))
    chosen = None
    if patterns := [value for key, value in tree.settings if key == "submodule.active"]:
        chosen = set(await git.names("ls-files", "-z", "--", *patterns))
    settings = stated | dict(tree.settings)
    found = {}
    for key, path in stated.items():
        section, _, name = key.rpartition(".")
        if name != "path":
            continue
        active = settings.get(f"{section}.active")
        is_off = chosen is not None and path not in chosen
        if active is not None:
            is_off = active.lower() in NO
        found[path] = is_off or settings.get(f"{section}.update") == "none"
    return found


def is_empty_directory(path: str) -> bool:
    """Whether there is nothing in it, as where a submodule is not checked out."""
    try:
        return not os.listdir(path)  # noqa: PTH208 - names may be any bytes
    except OSError:
        return False


def _outside_git(directory: Path, state_root: Path) -> WorkTree:
    private = _below(directory, state_root)
    return WorkTree(directory, None, private)


def _refuse_own(directory: Path, why: str) -> None:
    """Refuse a directory if it has a `.git` that git passed over."""
    if (directory / ".git" / "HEAD").is_file():
        raise UsageError(
            why.format(directory / ".git"),
            "see the output of `git status` in it, or remove that .git",
        )


def _refuse_home(directory: Path) -> None:
    """Refuse a directory outside git that is a home, all of which would go to the Nix store."""
    if directory == Path("/") or _is_home(directory):
        raise UsageError(
            f"all of {directory} would go to the Nix store, which everybody may read",
            "move the flake into a directory of its own, or make it a git repository and `git add`"
            " what belongs to it",
        )


def _is_home(directory: Path) -> bool:
    """Whether it is our home, or that of the user whose it is."""
    homes = [os.environ.get("HOME", "")]
    for uid in {os.getuid(), directory.stat().st_uid}:
        with suppress(KeyError):
            homes.append(pwd.getpwuid(uid).pw_dir)
    return any(os.path.realpath(directory) == os.path.realpath(home) for home in homes if home)


def _not_a_work_tree(directory: Path, found: Completed) -> UsageError:
    if not found.ok:
        return unreadable(directory, found)
    return UsageError(
        f"{directory} is inside a git directory, not in a work tree",
        "run in the directory where the files are checked out",
    )


def _below(root: Path, state_root: Path) -> str | None:
    try:
        return f"{state_root.resolve().relative_to(root)}/"
    except ValueError:
        return None
