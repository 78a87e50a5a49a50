"""The files that a change in a user's repository touches, as git reports them.

- A change from BASE to HEAD is what HEAD's branch did since it left BASE: the difference from their
  merge base, `git diff BASE...HEAD`. What happened on BASE meanwhile isn't part of it.
- The same holds for the working tree: what it did since it left REV, commits, edits and untracked
  files together; ignored files don't count, as they aren't part of a snapshot.
- A renamed file is two: the old path and the new one. A removed file has changed.
- A submodule has changed when its commit has, or in a working tree anything in it, whatever git is
  told to ignore. It is listed as `PATH` and as `PATH/`, so that `PATH/**` matches.
- A file that git was told to overlook (assume-unchanged, skip-worktree) has changed like others.
  But one that a sparse checkout left out has not: it is marked skip-worktree and not there.
- Paths are relative to the directory asked about and lie below it, as do lane globs. Bytes that
  aren't UTF-8 are kept as surrogates.
- Nothing is written: the index that git refreshes is a copy.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from jerichoci.errors import UsageError
from jerichoci.snapshot.git import (
    GITLINK_MODE,
    NO,
    NO_REPOSITORY,
    Git,
    git_failure,
    has_repository,
    join_names,
    unreadable,
)
from jerichoci.state.dataclass import dataclass

# Plumbing: what a user sets for `git diff` does not reach it, but what is set for submodules.
_DIFF_FLAGS = (
    "-r",
    "--raw",
    "-z",
    "--no-renames",
    "--ignore-submodules=dirty",
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
    differing = await _differing(_git(repo), "diff-tree", *_DIFF_FLAGS, start, head_id)
    return ChangeSet(base_id, head_id, tuple(sorted(differing)))


async def changed_since(repo: Path, rev: str) -> ChangeSet:
    """The files that the working tree changed since its branch left `rev`."""
    base_id, head_id = await resolve(repo, rev), await resolve(repo, "HEAD")
    start = await _merge_base(repo, base_id, head_id)
    return ChangeSet(base_id, None, tuple(sorted(await _changed_here(repo, start))))


async def resolve(repo: Path, rev: str) -> str:
    """The id of the commit that `rev` names."""
    if rev.startswith("-") or "\0" in rev or not rev.strip():
        raise UsageError(f"{rev!r} is not a revision", "name a branch, tag or commit")
    git = _git(repo)
    done = await git.run("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    if done.ok:
        return done.stdout.decode().strip()
    found = await git.run("rev-parse", "--git-dir")
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
    git = _git(repo)
    found = await git.names("ls-tree", "-z", await resolve(repo, rev), "--", path)
    if not found:
        return None
    _, kind, blob = found[0].partition("\t")[0].split(" ")
    if kind != "blob":
        raise UsageError(f"{path} is not a file at {rev}")
    return await git.out("cat-file", "blob", blob)


async def _merge_base(repo: Path, base: str, head: str) -> str:
    done = await _git(repo).run("merge-base", base, head)
    if done.ok:
        return done.stdout.decode().strip()
    if done.exit_code == 1:
        raise UsageError(
            f"{base[:12]} and {head[:12]} share no history",
            "in a shallow clone, fetch more of it: `git fetch --unshallow`",
        )
    raise git_failure("merge-base", done)


async def _changed_here(repo: Path, start: str) -> set[str]:
    """The names that the working tree has otherwise than the commit `start`.

    What is in a submodule is not left to git: there it overlooks what it was told to overlook.
    """
    with tempfile.TemporaryDirectory(prefix="pikaci-index-") as scratch:
        git = _git(repo, await _copied_index(repo, Path(scratch)))
        await _show_all(git)
        changed = await _differing(git, "diff-index", *_DIFF_FLAGS, start, "--")
        staged = await git.names("ls-files", "--stage", "-z")
        if await _shows(git):
            changed.update(await git.names(*_UNTRACKED))
    for entry in staged:
        meta, _, name = entry.partition("\t")
        inner = repo / name
        if name in changed or not meta.startswith(GITLINK_MODE) or not has_repository(str(inner)):
            continue
        if await _changed_here(inner, "HEAD"):
            changed |= {name, f"{name}/"}
    return changed


async def _copied_index(repo: Path, scratch: Path) -> Path:
    """`git diff` writes the index it refreshes, and without refreshing lists touched files, too.

    The copy keeps its time: git looks into files that are no older than the index, so a later time
    would hide an edit made within the second of the last commit.
    """
    copy = scratch / "index"
    path = await _git(repo).out("rev-parse", "--git-path", "index")
    with suppress(FileNotFoundError):
        shutil.copy2(repo / os.fsdecode(path).removesuffix("\n"), copy)
    return copy


async def _shows(git: Git) -> bool:
    """Whether git shows untracked files: of others a snapshot has none."""
    setting = await git.found("config", "--get", "status.showUntrackedFiles")
    return setting.decode().strip().lower() not in NO


async def _show_all(git: Git) -> None:
    """Have git look at each file again, also at those that it was told to overlook."""
    flags = await git.names("ls-files", "--full-name", "-v", "-z", ":/")
    if overlooked := [flag for flag in flags if flag[0] in "Ss" or flag[0].islower()]:
        top = os.fsdecode(await git.out("rev-parse", "--show-toplevel")).removesuffix("\n")
        setting = await git.found("config", "--type=bool", "--get", "core.sparseCheckout")
        names = [
            flag[2:]
            for flag in overlooked
            if setting != b"true\n" or flag[0] not in "Ss" or os.path.lexists(f"{top}/{flag[2:]}")
        ]
        for option in ("--no-assume-unchanged", "--no-skip-worktree"):
            argv = ("update-index", option, "-z", "--stdin")
            await replace(git, cwd=Path(top)).out(*argv, stdin=join_names(names))
    await git.run("update-index", "-q", "--refresh")


async def _differing(git: Git, *args: str) -> set[str]:
    """The names in a raw difference; a submodule has a second one, for globs of what is in it."""
    fields = await git.names(*args)
    names = set(fields[1::2])
    for meta, name in zip(fields[::2], fields[1::2], strict=True):
        if GITLINK_MODE in meta.lstrip(":").split()[:2]:
            names.add(f"{name}/")
    return names


def _git(repo: Path, index: Path | None = None) -> Git:
    # What a partial clone lacks may be fetched: nothing here is a snapshot.
    return Git(cwd=repo, index=index, extra={"GIT_NO_LAZY_FETCH": "0"})
