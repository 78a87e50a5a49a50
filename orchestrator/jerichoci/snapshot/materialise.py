"""Snapshots as directories: `<state_root>/snapshots/<tree>`, immutable and shared by runs.

Consistency:

- A directory of that name is whole: it is built as `.tmp-<tree>` and renamed.
- One process builds a tree at a time; it holds `slots/snapshot-<tree>.lock`. A `.tmp-<tree>` whose
  lock is free was left by a process that died.
- Files are hard links to those of earlier snapshots where they are the same. So nothing may write
  to a snapshot; a file that differs is unlinked before it is written.
- A directory's mtime says when the snapshot was last asked for. What is asked for, built or copied
  from is locked, so `remove_snapshot` can't remove it while it is used.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.machine.idmap import GUEST_GID, GUEST_UID
from jerichoci.machine.process import run
from jerichoci.snapshot.git import GIT_DEADLINE_SECS, Git, join_names, split_names
from jerichoci.snapshot.repository import (
    INDEX_PREFIX,
    REPOSITORY_WAIT_SECS,
    Repository,
    open_repository,
)
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock, try_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

MATERIALISE_WAIT_SECS = 3600.0
"""Another process is writing the same tree: minutes, if it is huge and the disk is slow."""
CANDIDATES = 3
"""So many of the latest snapshots are compared for the one that differs least."""
SHARES_AT_LEAST, SHARE_AT_MOST = 64, 500
"""A tree is copied in so many parts; a directory of more entries is one of them."""
MOST_PROCESSES = 4
"""More get in each other's way: the file system orders what they do."""
FEW_CHANGES = 1000
"""With so few changes, linking what is the same is always cheaper than writing everything."""
UNFINISHED = ".tmp-"

OWNER = (GUEST_UID, GUEST_GID)
ABSENT = "000000"
"""The mode of a file that does not exist."""


@dataclass(frozen=True)
class _Difference:
    """What turns the snapshot `base` into another: names that go, index entries that come."""

    base: str
    gone: list[str]
    entries: list[str]

    def __len__(self) -> int:
        return max(len(self.gone), len(self.entries))


async def materialise(
    state_root: Path,
    tree: str,
    base: str | None = None,
    is_spare: Callable[[str], bool] | None = None,
) -> Path:
    """The directory of the snapshot `tree`, made if it isn't there; it must not be written to.

    `base` is a snapshot likely to be similar; without it, the latest ones are tried. One that
    `is_spare` calls unneeded becomes the new one, whatever its size; `is_spare` is called while the
    snapshot is locked.
    """
    target = Repository.at(state_root).snapshots / tree
    with try_lock(_lock_of(Repository.at(state_root), tree), shared=True) as held:
        if held and _touch(target):
            return target
    repository = await open_repository(state_root)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    async with lock(_lock_of(repository, tree), MATERIALISE_WAIT_SECS):
        if not _touch(target):
            async with (
                lock(repository.use_lock, REPOSITORY_WAIT_SECS, shared=True),
                _unfinished(target) as unfinished,
            ):
                await _build(repository, tree, base, unfinished, is_spare or _never)
                unfinished.rename(target)
                _touch(target)
    return target


def remove_snapshot(
    state_root: Path, tree: str, is_needed: Callable[[Path], bool] | None = None
) -> bool:
    """Remove the directory of a snapshot; False if it is needed, or made or copied just now.

    `is_needed` is called while the snapshot is locked; without it, the caller knows that no run
    needs the snapshot. The tree is kept in the private repository.
    """
    repository = Repository.at(state_root)
    target = repository.snapshots / tree
    path = _lock_of(repository, tree)
    with try_lock(path) as held:
        if not held or (is_needed and is_needed(target)):
            return False
        unfinished = target.with_name(f"{UNFINISHED}{tree}")
        with suppress(FileNotFoundError):
            target.rename(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
        path.unlink(missing_ok=True)
    return True


def remove_stale_materialisations(state_root: Path) -> list[str]:
    """Remove what processes that died left half-built; returns the trees it was to be."""
    repository = Repository.at(state_root)
    removed = []
    for unfinished in (repository.snapshots).glob(f"{UNFINISHED}*"):
        tree = unfinished.name.removeprefix(UNFINISHED)
        with try_lock(_lock_of(repository, tree)) as held:
            if held:
                shutil.rmtree(unfinished, ignore_errors=True)
                removed.append(tree)
    return sorted(removed)


def _lock_of(repository: Repository, tree: str) -> Path:
    return repository.slots / f"snapshot-{tree}.lock"


def _touch(snapshot: Path) -> bool:
    """Mark a snapshot as used; False if it doesn't exist."""
    try:
        os.utime(snapshot)
    except FileNotFoundError:
        return False
    return True


@asynccontextmanager
async def _unfinished(target: Path) -> AsyncIterator[Path]:
    unfinished = target.with_name(f"{UNFINISHED}{target.name}")
    await _remove(unfinished)
    try:
        yield unfinished
    except BaseException:
        await asyncio.shield(_remove(unfinished))
        raise


async def _remove(directory: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _never(_tree: str) -> bool:
    return False


async def _build(
    repository: Repository,
    tree: str,
    base: str | None,
    target: Path,
    is_spare: Callable[[str], bool],
) -> None:
    difference = await _least_difference(repository, tree, _candidates(target.parent, base))
    if difference is not None:
        is_there = _take(repository, difference.base, target, is_spare)
        with try_lock(_lock_of(repository, difference.base), shared=True) as held:
            if is_there or (held and await _link(target.with_name(difference.base), target)):
                await asyncio.to_thread(_unlink, target, difference)
                entries = join_names(difference.entries)
                if entries:
                    with _index(repository, target) as git:
                        await git.out("update-index", "-z", "--index-info", stdin=entries)
                        await _check_out(git)
                return
        await _remove(target)
    _make_open(target)
    with _index(repository, target) as git:
        await git.out("read-tree", tree)
        await _check_out(git)


def _take(repository: Repository, base: str, target: Path, is_spare: Callable[[str], bool]) -> bool:
    """Move an unneeded snapshot to where another one is to be; False if it is needed."""
    with try_lock(_lock_of(repository, base)) as held:
        if not held or not is_spare(base):
            return False
        try:
            target.with_name(base).rename(target)
        except FileNotFoundError:
            return False
        return True


def _make_open(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)  # whatever the umask
    if os.geteuid() == 0:
        with suppress(OSError):  # a root that is alone in its namespace
            os.chown(directory, *OWNER)


def _candidates(snapshots: Path, base: str | None) -> list[str]:
    """The snapshots to try as a base: the given one if it is there, or the latest ones."""
    if base is not None and (snapshots / base).is_dir():
        return [base]
    asked_for = []
    with os.scandir(snapshots) as entries:
        for entry in entries:
            if not entry.name.startswith(UNFINISHED):
                with suppress(FileNotFoundError):
                    asked_for.append((entry.stat().st_mtime_ns, entry.name))
    return [name for _, name in sorted(asked_for, reverse=True)[:CANDIDATES]]


async def _least_difference(
    repository: Repository, tree: str, candidates: list[str]
) -> _Difference | None:
    """What differs least from the candidates; None if writing everything is no more work."""
    if not sys.platform.startswith("linux"):
        return None  # `cp -l` is GNU's
    found = [await _difference(repository, base, tree) for base in candidates]
    least = min((known for known in found if known is not None), key=len, default=None)
    if least is None or len(least) <= FEW_CHANGES:
        return least
    files = (await repository.git.out("ls-tree", "-r", "-z", "--name-only", tree)).count(b"\0")
    return least if len(least) < files / 2 else None


async def _difference(repository: Repository, base: str, tree: str) -> _Difference | None:
    done = await repository.git.run(
        "diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", base, tree
    )
    if not done.ok:
        return None
    fields = split_names(done.stdout)
    gone, entries = [], []
    for meta, name in zip(fields[::2], fields[1::2], strict=True):
        old, new, _, blob, _ = meta.removeprefix(":").split(" ")
        if old != ABSENT:
            gone.append(name)
        if new != ABSENT:
            entries.append(f"{new} {blob}\t{name}")
    return _Difference(base, gone, entries)


async def _link(base: Path, target: Path) -> bool:
    """Copy `base` as hard links; False if that can't be done, with anything left at `target`."""
    shares = await asyncio.to_thread(_share, base, target)
    copies = [
        run(
            ["cp", "-al", "--parents", "-t", str(target), "--", *names],
            cwd=base,
            deadline_secs=GIT_DEADLINE_SECS,
        )
        for names in shares
    ]
    return all(done.ok for done in await asyncio.gather(*copies))


def _share(base: Path, target: Path) -> list[list[str]]:
    """What several processes can copy side by side; the directories above it are made here."""
    whole: list[str] = []
    level = ["."]
    while level and len(whole) + len(level) < SHARES_AT_LEAST:
        below: list[str] = []
        for directory in level:
            with os.scandir(base / directory) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            if directory != "." and len(found) > SHARE_AT_MOST:
                whole.append(directory)
                continue
            _make_open(target / directory)
            for name, is_directory in found:
                path = name if directory == "." else f"{directory}/{name}"
                (below if is_directory else whole).append(path)
        level = below
    whole += level
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    shares = [whole[number::processes] for number in range(processes)]
    return [share for share in shares if share]


def _unlink(target: Path, difference: _Difference) -> None:
    """Unlink what is removed or replaced: its inode belongs to other snapshots too."""
    above = set()
    for name in difference.gone:
        path = os.path.join(target, name)  # noqa: PTH118 - there may be many
        os.unlink(path)  # noqa: PTH108 - likewise
        above.add(name.rpartition("/")[0])
    for directory in sorted(above, key=len, reverse=True):
        _remove_empty(target, directory)


def _remove_empty(target: Path, directory: str) -> None:
    while directory:
        try:
            (target / directory).rmdir()
        except OSError:
            return
        directory = directory.rpartition("/")[0]


@contextmanager
def _index(repository: Repository, target: Path) -> Iterator[Git]:
    """A git on an index of its own that checks out into `target`."""
    index = repository.path / f"{INDEX_PREFIX}checkout-{target.name.removeprefix(UNFINISHED)}"
    leftovers = (index, index.with_name(f"{index.name}.lock"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    try:
        # With a worker a core: writing many files is bound by the system calls.
        settings = ("checkout.workers=0", f"safe.directory={repository.path}")
        yield Git(target, repository.path, target, index, config=settings)
    finally:
        for path in leftovers:
            path.unlink(missing_ok=True)


async def _check_out(git: Git) -> None:
    await git.out("checkout-index", "--all", "--force", "--quiet", owner=OWNER)
