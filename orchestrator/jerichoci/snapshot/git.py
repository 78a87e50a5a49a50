"""git as a program: the one place that builds its argv and environment.

- Nothing inherited points git elsewhere: every GIT_* variable is dropped but those that configure
  the user's own git, and those only reach the user's repositories.
- The private repository sees no configuration but its own.
- Names are bytes to git and `os.fsdecode`d strings here; lists are NUL-separated both ways.
- Every call has a deadline; a cancelled one leaves no process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import DISK_FULL, DiskFullError, InfrastructureError, UsageError
from jerichoci.machine import process
from jerichoci.machine.process import Completed, run
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MINIMUM_VERSION = (2, 39)
"""The oldest that is tested; one before 2.32 lacks `checkout.workers` and GIT_CONFIG_GLOBAL."""

GIT_DEADLINE_SECS = 1800.0
"""For any one git: time to hash a large tree on a slow disk, not to hang."""

VERSION_ARGV = ("git", "--version")
VERSION_DEADLINE_SECS = 120.0
"""A program that has to be read from a slow disk first."""

GITLINK_MODE = "160000"
REMOVED = f"0 {'0' * 40}"
"""In place of mode and id, in an index entry: there is no such name."""

NO = ("no", "false", "off", "0")
"""False values of a setting."""
NO_REPOSITORY = b"not a git repository (or any"
"""In git's error where there is no repository, up to `/` or to a mount point."""

_USERS_OWN = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
_EVERYWHERE = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
_PRIVATE = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
}
_WITH_UMASK = ("sh", "-c", 'umask 022 && exec "$0" "$@"')
_CAPABILITIES = "+dac_override,+fowner"
"""What lets another user than root write where only root may."""


@cache
def _as_owner(uid: int, gid: int) -> tuple[str, ...]:
    """A prefix that makes a command's files another user's; empty where we may not do that."""
    try:
        everybody = Path("/proc/self/uid_map").read_text(encoding="ascii").split()[2]
    except OSError:
        return ()
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or int(everybody) <= uid or setpriv is None:
        return ()
    user = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    # git asks access(2), which counts no capabilities of others than root but with this bit.
    bits = "--securebits=+no_setuid_fixup"
    return (setpriv, bits, *user, f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}")


def git_environment(*, private: bool) -> dict[str, str]:
    """The environment of a git that works on the private repository or on a user's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_")
        or name == "GIT_EXEC_PATH"
        or (not private and name.startswith(_USERS_OWN))
    }
    return kept | _EVERYWHERE | (_PRIVATE if private else {})


@dataclass(frozen=True)
class Git:
    """A git bound to a repository, a work tree and an index.

    Without `git_dir`, git finds the repository from `cwd` upwards, as the user's own git would.
    `config` has settings (`name=value`) for each call; `extra` has environment variables.
    """

    cwd: Path
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    config: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The whole environment of this git."""
        bound = {
            "GIT_DIR": self.git_dir,
            "GIT_WORK_TREE": self.work_tree,
            "GIT_INDEX_FILE": self.index,
        }
        named = {name: str(path) for name, path in bound.items() if path is not None}
        return git_environment(private=self.git_dir is not None) | named | dict(self.extra)

    def argv(self, *args: str) -> list[str]:
        """The command line of this git with `args`."""
        # A daemon that watches the user's files is the user's to start.
        settings = ("core.fsmonitor=false", *self.config)
        return ["git", *(word for setting in settings for word in ("-c", setting)), *args]

    async def run(
        self, *args: str, stdin: bytes | None = None, owner: tuple[int, int] | None = None
    ) -> Completed:
        """Run git to its end, whatever its exit code; one that a signal ended is a failure.

        With `owner`, a user and group, the files it makes can be read by all and, if we are root,
        belong to the owner.
        """
        argv = self.argv(*args)
        done = await run(
            [*_as_owner(*owner), *_WITH_UMASK, *argv] if owner else argv,
            cwd=self.cwd,
            env=self.environment(),
            stdin=stdin,
            deadline_secs=GIT_DEADLINE_SECS,
        )
        if done.was_killed:
            raise git_failure(args[0], done)
        return done

    async def out(
        self, *args: str, stdin: bytes | None = None, owner: tuple[int, int] | None = None
    ) -> bytes:
        """What git prints."""
        done = await self.run(*args, stdin=stdin, owner=owner)
        if not done.ok:
            raise git_failure(args[0], done)
        return done.stdout

    async def found(self, *args: str) -> bytes:
        """What git prints of what may not be there."""
        return printed(args[0], await self.run(*args))

    async def line(self, *args: str, stdin: bytes | None = None) -> str:
        """The one line that git prints, such as an object id."""
        return os.fsdecode((await self.out(*args, stdin=stdin)).strip())

    async def names(self, *args: str, stdin: bytes | None = None) -> list[str]:
        """The NUL-separated names that git prints."""
        return split_names(await self.out(*args, stdin=stdin))


def with_objects(directory: str | os.PathLike[str]) -> dict[str, str]:
    """Variables that make git read another repository's `objects`, too."""
    escaped = os.fspath(directory).replace("\\", "\\\\").replace('"', '\\"')
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{escaped}"'}


def pack_argv() -> list[str]:
    """Git that packs the trees on stdin, without what the trees that are marked with a `^` have.

    Deltas are made against what those have; none among what is new, which costs more than it saves.
    """
    packing = ("pack-objects", "--revs", "--stdout", "--quiet", "--thin", "--window=0")
    return ["git", "-c", "core.compression=1", "-c", "pack.threads=0", *packing]


def take_pack_argv(pack: Path | None) -> list[str]:
    """Git that takes a pack, whole or not at all, and keeps it as `pack` or object by object.

    A pack is for many objects: as many as there are changes would slow git down. A `pack` without
    an index is what came in part.
    """
    if pack is None:
        return ["git", "unpack-objects", "-q"]
    return ["git", "index-pack", "--stdin", "--fix-thin", str(pack)]


def private_variables(git_dir: Path) -> dict[str, str]:
    """Variables that make git work on the private repository of a host."""
    return _PRIVATE | {"GIT_DIR": str(git_dir)}


async def version() -> Completed:
    """The output of `git --version`."""
    return await run(VERSION_ARGV, deadline_secs=VERSION_DEADLINE_SECS)


async def repository_variables() -> list[str]:
    """Names of the variables by which git tells its children which repository it works on."""
    done = await run(("git", "rev-parse", "--local-env-vars"), deadline_secs=VERSION_DEADLINE_SECS)
    return printed("rev-parse", done).decode().split()


def check_version(text: str) -> None:
    """Refuse a git that is too old."""
    process.check_version("git", text, MINIMUM_VERSION)


def git_failure(subcommand: str, done: Completed) -> InfrastructureError:
    """What to raise for a git that failed."""
    if done.was_killed:
        return InfrastructureError(done.reason())
    kind = DiskFullError if lacked_room(done.stderr) else InfrastructureError
    return kind(
        f"`git {subcommand}` failed: {done.reason()}",
        advice(done) or "is the disk full, or a repository damaged? `git fsck` shows",
    )


def printed(subcommand: str, done: Completed) -> bytes:
    """What a git printed; with the exit code 1 that is nothing, as there is none."""
    if done.exit_code not in {0, 1}:
        raise git_failure(subcommand, done)
    return done.stdout


def unreadable(directory: Path, done: Completed) -> UsageError:
    """What to raise where git can't read the repository of a directory."""
    return UsageError(
        f"git can't read the repository of {directory}: {done.reason()}",
        advice(done) or "see whether `git status` works there",
    )


def lacked_room(stderr: bytes) -> bool:
    """Whether git reports a full disk: it has no exit code of its own for that."""
    return any(os.strerror(number).encode() in stderr for number in DISK_FULL)


def advice(done: Completed) -> str | None:
    """The command that git itself advises in what it printed."""
    found = re.search(rb"^\t(git config .*safe\.directory .*)$", done.stderr, re.MULTILINE)
    return f"if you trust it: `{os.fsdecode(found[1])}`" if found else None


def split_names(listing: bytes) -> list[str]:
    """The names in a NUL-separated listing."""
    return os.fsdecode(listing).split("\0")[:-1]


def join_names(names: Iterable[str]) -> bytes:
    """A NUL-separated listing for git to read."""
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def has_repository(directory: str) -> bool:
    """Whether `directory` has a repository for git: a leftover `.git` is not one."""
    dot_git = f"{directory}/.git"
    if os.path.isfile(dot_git) and os.access(dot_git, os.R_OK):  # noqa: PTH113 - any bytes
        named = os.fsdecode(Path(dot_git).read_bytes()).removeprefix("gitdir:").strip()
        dot_git = os.path.join(directory, named)  # noqa: PTH118 - it may be absolute
    return os.path.lexists(f"{dot_git}/HEAD")


def find_top(directory: Path) -> Path:
    """The top of the work tree that `directory` is in, `directory` itself if it is in none.

    Where git refuses the repository above, or is missing, its top is meant.
    """
    git = Git(cwd=directory)
    argv = git.argv("rev-parse", "--is-inside-work-tree", "--show-cdup")
    try:
        done = subprocess.run(
            argv, cwd=directory, env=git.environment(), capture_output=True, check=False
        )
    except OSError:
        done = None
    if done and done.returncode == 0 and done.stdout.startswith(b"true"):
        up = os.fsdecode(done.stdout).partition("\n")[2].removesuffix("\n")
        return Path(os.path.normpath(directory / up))
    if done and (done.stdout.startswith(b"false") or NO_REPOSITORY in done.stderr):
        return directory
    above = (directory, *directory.parents)
    tops = (top for top in above if (top / ".git").is_file() or has_repository(os.fspath(top)))
    return next(tops, directory)
