"""Running git on the forge's repositories.

Nothing of the caller's environment points it elsewhere or is seen by it that is the forge's. The
repositories may be another user's: `safe.directory` counts from the environment, not from `-c`.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GIT_SECS = 60.0
"""Deadline of one git; all are local, and a repository may be on a slow disk."""
_DROPPED = re.compile("GIT_.*|PH_.*|PIKA_GIT_.*")
OWN_REFS = "refs/pikaci/"
"""The forge's own refs in a repository, hidden from clients."""


class GitError(Exception):
    """A git failed; the message has what it said."""


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
class Repository:
    """A bare repository."""

    path: Path

    def run(self, *args: str, stdin: bytes = b"", secs: float = GIT_SECS) -> Done:
        """Run git; its exit status is the caller's to judge."""
        argv = ("git", f"--git-dir={self.path}", *args)
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                env=self._environment(),
                cwd=self.path,
                timeout=secs,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GitError(f"git {args[0]} took more than {secs:.0f} s in {self.path}") from None
        except OSError as error:
            where = error.filename or "git"
            raise GitError(f"could not run git: {where}: {error.strerror}") from error
        return Done(argv, done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

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

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit where two branches parted; None if they share no history."""
        return self.run("merge-base", one, other).text.partition("\n")[0] or None

    def file(self, commit: str, path: str) -> bytes | None:
        """The content of a file in a commit; None if it has none."""
        done = self.run("cat-file", "blob", f"{commit}:{path}")
        return None if done.code else done.out

    def refs(self) -> dict[str, str]:
        """All refs and the commits that they name, but symbolic ones and the forge's own.

        A ref that is not UTF-8, or names no commit, is passed over.
        """
        fields = ("objectname", "objecttype", "*objectname", "*objecttype", "symref", "refname")
        form = "%00".join(f"%({field})" for field in fields)
        done = self.run("for-each-ref", f"--format={form}")
        if done.code:
            raise GitError(f"git for-each-ref failed in {self.path}: {done.reason}")
        found = {}
        for line in done.out.splitlines():
            try:
                own, kind, peeled, peeled_kind, symbolic, ref = line.decode().split("\0")
            except ValueError:  # also: not UTF-8
                continue
            commit = {"commit": own, "tag": peeled if peeled_kind == "commit" else ""}.get(kind)
            if commit and not symbolic and not ref.startswith(OWN_REFS):
                found[ref] = commit
        return found

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
