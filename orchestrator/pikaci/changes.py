"""What changed: the files of a change, as git tells it about a user's repository.

- A change from BASE to HEAD is what HEAD's branch did since it left BASE: the difference from their
  merge base, `git diff BASE...HEAD`. What happened on BASE meanwhile isn't part of it.
- The same holds for the working tree: what it did since it left REV, commits, edits and untracked
  files together; ignored files don't count, as they aren't part of a snapshot.
- A renamed file is two: the old path and the new one. A removed file has changed.
- Paths are relative to the directory asked about and lie below it, as do lane globs. Bytes that
  aren't UTF-8 are kept as surrogates.
- Nothing is written: the index that git refreshes is a copy.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.process import Completed

GIT_DEADLINE_SECS = 120.0
"""Far more than a difference of 100,000 files takes; a network file system may need it."""

_DIFF_FLAGS = ("--name-only", "-z", "--no-renames", "--no-ext-diff", "--relative")
_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard")
# Set by git around hooks and aliases; they would point at another repository or index.
_LOCATION_VARIABLES = frozenset(
    (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    )
)


@dataclass(frozen=True)
class ChangeSet:
    """The files that changed from `base` to `head`: commit ids; no head is the working tree."""

    base: str
    head: str | None
    paths: tuple[str, ...]


async def changed_between(repo: Path, base: str, head: str) -> ChangeSet:
    """The files that `head` changed since it left `base`.

    Raises:
        UsageError: this is no repository, there is no such revision, or they share no history.
        InfrastructureError: git failed.
    """
    base_id, head_id = await resolve(repo, base), await resolve(repo, head)
    start = await _merge_base(repo, base_id, head_id)
    differing = await _listed(repo, "diff", *_DIFF_FLAGS, start, head_id, "--")
    return ChangeSet(base_id, head_id, _sorted(differing))


async def changed_since(repo: Path, rev: str) -> ChangeSet:
    """The files that the working tree changed since its branch left `rev`.

    Raises:
        UsageError: this is no repository, there is no such revision, or they share no history.
        InfrastructureError: git failed.
    """
    base_id, head_id = await resolve(repo, rev), await resolve(repo, "HEAD")
    start = await _merge_base(repo, base_id, head_id)
    with tempfile.TemporaryDirectory(prefix="pikaci-index-") as scratch:
        index = await _copied_index(repo, Path(scratch))
        differing = await _listed(repo, "diff", *_DIFF_FLAGS, start, "--", index=index)
        untracked = await _listed(repo, *_UNTRACKED, index=index)
    return ChangeSet(base_id, None, _sorted([*differing, *untracked]))


async def resolve(repo: Path, rev: str) -> str:
    """The id of the commit that `rev` names.

    Raises:
        UsageError: this is no repository, or there is no such revision.
        InfrastructureError: git failed.
    """
    if rev.startswith("-") or "\0" in rev or not rev.strip():
        raise UsageError(f"{rev!r} is not a revision", "name a branch, tag or commit")
    done = await _git(repo, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    if done.ok:
        return done.stdout.decode().strip()
    await _check_repository(repo)
    raise UsageError(
        f"there is no revision `{rev}` in {repo}", "fetch it, or name a branch, tag or commit"
    )


async def file_at(repo: Path, rev: str, path: str) -> bytes | None:
    """The content of the file `path` in the commit `rev`; None if it has no such file.

    Raises:
        UsageError: this is no repository, or there is no such revision.
        InfrastructureError: git failed.
    """
    commit = await resolve(repo, rev)
    prefix = await _git(repo, "rev-parse", "--show-prefix")
    below = os.fsdecode(prefix.stdout).removesuffix("\n")
    name = f"{commit}:{below}{path}"
    done = await _git(repo, "cat-file", "blob", name)
    if done.ok:
        return done.stdout
    if (await _git(repo, "cat-file", "-e", name)).ok:
        raise UsageError(f"{path} is not a file at {rev}")
    return None


def git_environment() -> dict[str, str]:
    """This process's environment, without what would point git at another repository."""
    return {name: value for name, value in os.environ.items() if name not in _LOCATION_VARIABLES}


async def _check_repository(repo: Path) -> None:
    done = await _git(repo, "rev-parse", "--git-dir")
    if not done.ok:
        raise UsageError(
            f"git finds no repository in {repo}: {done.reason()}",
            "what changed can be told inside a git repository only",
        )


async def _merge_base(repo: Path, base: str, head: str) -> str:
    done = await _git(repo, "merge-base", base, head)
    if done.ok:
        return done.stdout.decode().strip()
    if done.exit_code == 1:
        raise UsageError(
            f"{base[:12]} and {head[:12]} share no history",
            "in a shallow clone, fetch more of it: `git fetch --unshallow`",
        )
    raise _failed(done)


async def _copied_index(repo: Path, scratch: Path) -> Path:
    """`git diff` writes the index it refreshes, and without refreshing tells touched files too.

    The copy keeps its time: git looks into files that are no older than the index, so a later time
    would hide an edit made within the second of the last commit.
    """
    copy = scratch / "index"
    done = await _git(repo, "rev-parse", "--git-path", "index")
    with suppress(FileNotFoundError):
        shutil.copy2(repo / os.fsdecode(done.stdout).removesuffix("\n"), copy)
    return copy


async def _listed(repo: Path, *args: str, index: Path | None = None) -> list[str]:
    done = await _git(repo, *args, index=index)
    if not done.ok:
        raise _failed(done)
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def _failed(done: Completed) -> InfrastructureError:
    return InfrastructureError(f"`git {done.argv[1]}` failed: {done.reason()}")


def _sorted(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(paths)))


async def _git(repo: Path, *args: str, index: Path | None = None) -> Completed:
    from jerichoci.process import run

    env = git_environment() | ({"GIT_INDEX_FILE": str(index)} if index else {})
    return await run(["git", *args], cwd=repo, env=env, deadline_secs=GIT_DEADLINE_SECS)
