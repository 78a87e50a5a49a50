"""The files that a change in a user's repository touches, as git reports them.

- A change from BASE to HEAD is what HEAD's branch did since it left BASE: the difference from their
  merge base, `git diff BASE...HEAD`. What happened on BASE meanwhile isn't part of it.
- The same holds for the working tree: what it did since it left REV, commits, edits and untracked
  files together; ignored files don't count, as they aren't part of a snapshot.
- A renamed file is two: the old path and the new one. A removed file has changed.
- A submodule has changed when its commit has, or in a working tree anything in it, whatever git is
  told to ignore. It is listed as `PATH` and as `PATH/`, so that `PATH/**` matches.
- A file that git was told to overlook (assume-unchanged, skip-worktree) has changed like others,
  but one that a sparse checkout leaves out has not.
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

from jerichoci.errors import UsageError
from jerichoci.snapshot.git import GITLINK_MODE, NO, NO_REPOSITORY, Git, git_failure, unreadable

if TYPE_CHECKING:
    from jerichoci.machine.process import Completed

# Plumbing: what a user sets for `git diff` does not reach it, but what is set for submodules.
_DIFF_FLAGS = (
    "-r",
    "--raw",
    "-z",
    "--no-renames",
    "--ignore-submodules=none",
    "--relative",
    "-O/dev/null",
)
_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard")


@dataclass(frozen=True)
class ChangeSet:
    """The files that changed from `base` to `head`: commit ids; no head is the working tree."""

    base: str
    head: str | None
    paths: tuple[str, ...]


async def changed_between(repo: Path, base: str, head: str) -> ChangeSet:
    """The files that `head` changed since it left `base`."""
    base_id, head_id = await resolve(repo, base), await resolve(repo, head)
    start = await _merge_base(repo, base_id, head_id)
    differing = await _differing(repo, "diff-tree", *_DIFF_FLAGS, start, head_id)
    return ChangeSet(base_id, head_id, tuple(sorted(set(differing))))


async def changed_since(repo: Path, rev: str) -> ChangeSet:
    """The files that the working tree changed since its branch left `rev`."""
    base_id, head_id = await resolve(repo, rev), await resolve(repo, "HEAD")
    start = await _merge_base(repo, base_id, head_id)
    with tempfile.TemporaryDirectory(prefix="pikaci-index-") as scratch:
        index = await _copied_index(repo, Path(scratch))
        await _show_all(repo, index)
        differing = await _differing(repo, "diff-index", *_DIFF_FLAGS, start, "--", index=index)
        untracked = await _listed(repo, *_UNTRACKED, index=index) if await _shows(repo) else []
    return ChangeSet(base_id, None, tuple(sorted({*differing, *untracked})))


async def resolve(repo: Path, rev: str) -> str:
    """The id of the commit that `rev` names."""
    if rev.startswith("-") or "\0" in rev or not rev.strip():
        raise UsageError(f"{rev!r} is not a revision", "name a branch, tag or commit")
    done = await _git(repo, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    if done.ok:
        return done.stdout.decode().strip()
    found = await _git(repo, "rev-parse", "--git-dir")
    if NO_REPOSITORY in found.stderr:
        raise UsageError(
            f"git finds no repository in {repo}: {found.reason()}",
            "changes can only be found inside a git repository",
        )
    if not found.ok:
        raise unreadable(repo, found)
    raise UsageError(
        f"there is no revision `{rev}` in {repo}", "fetch it, or name a branch, tag or commit"
    )


async def file_at(repo: Path, rev: str, path: str) -> bytes | None:
    """The content of the file `path` in the commit `rev`; None if it has no such file."""
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


async def _merge_base(repo: Path, base: str, head: str) -> str:
    done = await _git(repo, "merge-base", base, head)
    if done.ok:
        return done.stdout.decode().strip()
    if done.exit_code == 1:
        raise UsageError(
            f"{base[:12]} and {head[:12]} share no history",
            "in a shallow clone, fetch more of it: `git fetch --unshallow`",
        )
    raise git_failure("diff", done)


async def _copied_index(repo: Path, scratch: Path) -> Path:
    """`git diff` writes the index it refreshes, and without refreshing lists touched files, too.

    The copy keeps its time: git looks into files that are no older than the index, so a later time
    would hide an edit made within the second of the last commit.
    """
    copy = scratch / "index"
    done = await _git(repo, "rev-parse", "--git-path", "index")
    with suppress(FileNotFoundError):
        shutil.copy2(repo / os.fsdecode(done.stdout).removesuffix("\n"), copy)
    return copy


async def _shows(repo: Path) -> bool:
    """Whether git shows untracked files: of others a snapshot has none."""
    done = await _git(repo, "config", "--get", "status.showUntrackedFiles")
    return done.stdout.decode().strip().lower() not in NO


async def _show_all(repo: Path, index: Path) -> None:
    """Have git look at each file again, also at those that it was told to overlook.

    A file that a sparse checkout leaves out stays overlooked: it has not changed.
    """
    top = (await _git(repo, "rev-parse", "--show-toplevel")).stdout.removesuffix(b"\n")
    flags = await _listed(repo, "ls-files", "--full-name", "-v", "-z", ":/", index=index)
    overlooked = [flag[2:] for flag in flags if flag[0] in "Ss" or flag[0].islower()]
    names = [name for name in overlooked if os.path.lexists(os.path.join(os.fsdecode(top), name))]  # noqa: PTH118 - names may be any bytes
    for flag in ("--no-assume-unchanged", "--no-skip-worktree") if names else ():
        listing = b"".join(os.fsencode(name) + b"\0" for name in names)
        argv = ("update-index", flag, "-z", "--stdin")
        await _git(Path(os.fsdecode(top)), *argv, index=index, stdin=listing)
    await _git(repo, "update-index", "-q", "--refresh", index=index)


async def _differing(repo: Path, *args: str, index: Path | None = None) -> list[str]:
    """The names in a raw difference; a submodule has a second one, for globs of what is in it."""
    fields = await _listed(repo, *args, index=index)
    names = []
    for meta, name in zip(fields[::2], fields[1::2], strict=True):
        is_submodule = GITLINK_MODE in meta.lstrip(":").split()[:2]
        names += [name, f"{name}/"] if is_submodule else [name]
    return names


async def _listed(repo: Path, *args: str, index: Path | None = None) -> list[str]:
    done = await _git(repo, *args, index=index)
    if not done.ok:
        raise git_failure("diff", done)
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


async def _git(
    repo: Path, *args: str, index: Path | None = None, stdin: bytes | None = None
) -> Completed:
    # What a partial clone lacks may be fetched: nothing here is a snapshot.
    git = Git(cwd=repo, index=index, extra={"GIT_NO_LAZY_FETCH": "0"})
    return await git.run(*args, stdin=stdin)
