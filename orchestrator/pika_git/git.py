"""Running git on the forge's repositories.

Nothing of the caller's environment points it elsewhere or is seen by it that is the forge's. The
repositories may be another user's: `safe.directory` counts from the environment, not from `-c`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

GIT_SECS = 60.0
"""Deadline of one git; all are local, and a repository may be on a slow disk."""
_DROPPED = re.compile("GIT_.*|PH_.*|PIKA_GIT_.*")
FILE_BYTES = 1024**2
"""What is read of a commit is no larger: anyone who may push writes it."""
OWN_REFS = "refs/pikaci/"
"""The forge's own refs in a repository, hidden from clients."""


class GitError(Exception):
    """A git failed; the message has what it said."""


class TooLargeError(GitError):
    """A file is too large to be read into the service."""


@dataclass(frozen=True)
class Done:
    """A git that ended."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Stdout without the last newline; bytes that are not UTF-8 as surrogates."""
        return self.out.decode("utf-8", "surrogateescape").removesuffix("\n")

    @property
    def reason(self) -> str:
        """What it said, on one line."""
        said = " ".join(self.err.split()) or f"exit status {self.code}"
        return said.removeprefix("fatal: ")


@dataclass(frozen=True)
class Refs:
    """The refs of a repository, but symbolic ones and the forge's own.

    `commits` are those that name a commit. `unreadable` name an object that is missing, or have a
    name that is not UTF-8. `warning` is what git said of refs that it can't list at all.
    """

    commits: dict[str, str]
    unreadable: tuple[str, ...]
    warning: str

    @property
    def problem(self) -> str | None:
        """What is wrong with some of them, in words; None if nothing is."""
        if self.warning:
            return f"git can't list all refs: {self.warning}"
        if not self.unreadable:
            return None
        more = f" and {len(self.unreadable) - 1} more" if len(self.unreadable) > 1 else ""
        return f"{self.unreadable[0]}{more} can't be read: no commit is there, or no UTF-8"


@dataclass(frozen=True)
class Repository:
    """A bare repository."""

    path: Path

    def run(self, *args: str, stdin: bytes = b"", secs: float = GIT_SECS) -> Done:
        """Run git; its exit status is the caller's to judge."""
        argv = ("git", f"--git-dir={self.path}", *args)
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment(),
                cwd=self.path,
                start_new_session=True,
            )
        except OSError as error:
            where = error.filename or "git"
            raise GitError(f"could not run git: {where}: {error.strerror}") from error
        with process:
            try:
                out, err = process.communicate(stdin, secs)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):  # hooks that it runs hang with it
                    os.killpg(process.pid, signal.SIGKILL)
                text = f"git {args[0]} took more than {secs:.0f} s in {self.path}"
                raise GitError(text) from None
        return Done(argv, process.returncode, out, err.decode("utf-8", "replace"))

    def out(self, *args: str, stdin: bytes = b"") -> str:
        """What git prints; an error if it fails."""
        done = self.run(*args, stdin=stdin)
        if done.code:
            raise GitError(f"git {args[0]} failed in {self.path}: {done.reason}")
        return done.text

    def commit(self, name: str) -> str | None:
        """The id of the commit that `name` names; None if there is none."""
        if name.startswith("-"):
            return None
        done = self.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return done.text or None

    def tree(self, commit: str) -> str:
        """The id of a commit's tree."""
        return self.out("rev-parse", "--verify", f"{commit}^{{tree}}")

    def ids(self, *names: str) -> list[str | None]:
        """The ids of objects, from one git; None for a name of none. No name has a newline."""
        if not names:
            return []
        text = "".join(f"{name}\n" for name in names)
        done = self.run("cat-file", "--batch-check=%(objectname)", stdin=text.encode())
        lines = done.out.splitlines()
        if done.code or len(lines) != len(names):
            raise GitError(f"git cat-file failed in {self.path}: {done.reason}")
        return [None if b" " in line else line.decode() for line in lines]

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit where two branches parted; None if they share no history."""
        done = self.run("merge-base", one, other)
        if done.code > 1:
            raise GitError(f"git merge-base failed in {self.path}: {done.reason}")
        return done.text.partition("\n")[0] or None

    def file(self, commit: str, path: str) -> bytes | None:
        """The content of a file in a commit; None if it has none; `TooLargeError`."""
        (blob,) = self.ids(f"{commit}:{path}")
        if blob is None:
            return None
        self.check_size(blob, f"{path} of {commit[:12]}")
        return self.run("cat-file", "blob", blob).out

    def check_size(self, blob: str, what: str) -> None:
        """Raise `TooLargeError` if a file is too large to be read."""
        if int(self.out("cat-file", "-s", blob)) > FILE_BYTES:
            raise TooLargeError(f"{what} is larger than {FILE_BYTES // 1024**2} MiB")

    def refs(self, known: Collection[str] = ()) -> Refs:
        """All refs; `known` are ids of commits, which are not looked at again.

        An object is not asked of `for-each-ref`: one that is missing ends it.
        """
        done = self.run("for-each-ref", "--format=%(objectname)%00%(symref)%00%(refname)")
        if done.code:
            raise GitError(f"git for-each-ref failed in {self.path}: {done.reason}")
        found, odd = {}, []
        for line in done.out.splitlines():
            own, symbolic, name = line.split(b"\0")
            ref = name.decode("utf-8", "backslashreplace")
            if symbolic or ref.startswith(OWN_REFS):
                continue
            try:
                found[name.decode()] = own.decode()
            except UnicodeDecodeError:
                odd.append(ref)
        commits, missing = self._commits(sorted(set(found.values()) - set(known)))
        commits |= {own: own for own in known}
        odd += [ref for ref, own in found.items() if own in missing]
        peeled = {ref: commits[own] for ref, own in found.items() if own in commits}
        return Refs(peeled, tuple(odd), " ".join(done.err.split()))

    def _commits(self, objects: Sequence[str]) -> tuple[dict[str, str], set[str]]:
        """The commits that objects are or, as tags, name; and the objects that are missing."""
        peeled = self.ids(*(f"{each}^{{commit}}" for each in objects))
        commits = {own: commit for own, commit in zip(objects, peeled, strict=True) if commit}
        rest = [own for own in objects if own not in commits]
        missing = {own for own, there in zip(rest, self.ids(*rest), strict=True) if there is None}
        return commits, missing

    def update_refs(self, lines: list[str]) -> Done:
        """Change refs in one transaction, by lines of `git update-ref --stdin`."""
        text = "\n".join(["start", *lines, "prepare", "commit", ""])
        return self.run("update-ref", "--stdin", stdin=text.encode("utf-8", "surrogateescape"))

    def problem(self) -> str | None:
        """What is wrong with this repository; None if it can be used."""
        if not self.path.is_dir():
            return f"there is no directory {self.path}"
        done = self.run("rev-parse", "--is-bare-repository")
        if done.code:
            return f"git does not accept {self.path}: {done.reason}"
        return None if done.text == "true" else f"{self.path} is not a bare repository"

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not _DROPPED.fullmatch(name)}
        return kept | {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": str(self.path),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "LC_ALL": "C.UTF-8",
        }
