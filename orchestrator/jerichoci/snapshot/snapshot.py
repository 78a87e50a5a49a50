"""Snapshots: the working tree as it is, named by its git tree id.

A snapshot has the tracked and the untracked files, changed or not, and no ignored ones; the files
in submodules and nested clones, by the same rules; byte for byte what is on disk, whatever
attributes say. Outside git it has all files. Its id depends on nothing but those files: neither on
earlier snapshots nor on the user's configuration, beyond which files are ignored.

Consistency: what is written while a snapshot is taken may be in it or not, file by file. Once its
ref exists, all its objects do, and nothing but `prune_repository` removes them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.gather import together
from jerichoci.snapshot.dirty import Written, is_dirty
from jerichoci.snapshot.git import with_objects
from jerichoci.snapshot.index import PrivateIndex
from jerichoci.snapshot.lacks import Lacks, shown
from jerichoci.snapshot.lfs import unfetched
from jerichoci.snapshot.repository import REPOSITORY_WAIT_SECS, open_repository, snapshot_ref
from jerichoci.snapshot.work_tree import WorkTree, find_work_tree, read_head, submodules_not_there
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jerichoci.snapshot.repository import Repository

SHA1_LENGTH = 40
INDEX_WAIT_SECS = 1800.0
"""Another snapshot of the same work tree takes a second; the first one of a huge tree, minutes."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in the private repository.

    `source_root` is the work tree's top, or the directory itself outside git. `git_head` is the
    user's HEAD commit, None before the first one and outside git; `git_dirty` whether the snapshot
    differs from it, None outside git. `created` is False if the same tree was kept already. `notes`
    are sentences about what a user may miss in it; `lacks` is what is not there and should be.
    """

    tree: str
    commit: str
    ref: str
    source_root: Path
    git_head: str | None
    git_dirty: bool | None
    created: bool
    notes: tuple[str, ...] = ()
    lacks: Lacks = field(default_factory=Lacks)


async def take_snapshot(state_root: Path, source_root: Path, *, whole: bool = False) -> Snapshot:
    """Take a snapshot of the work tree `source_root` is in; with `whole`, of all files in it."""
    repository = await open_repository(state_root)
    work_tree = await find_work_tree(source_root, state_root, whole=whole)
    async with lock(repository.use_lock, REPOSITORY_WAIT_SECS, shared=True):
        lacks = Lacks(outside_git=work_tree.git is None, fetched=whole)
        written, head = await together(
            _write_tree(repository, work_tree, "", lacks), read_head(work_tree)
        )
        dirty, overlooked = await is_dirty(repository, written, head)
        known = repository.commit_of(written.id)
        commit = known or await repository.keep(written.id)
    return Snapshot(
        tree=written.id,
        commit=commit,
        ref=snapshot_ref(written.id),
        source_root=work_tree.root,
        git_head=head.commit,
        git_dirty=dirty,
        created=known is None,
        notes=(*lacks.notes(), *_overlooked(overlooked)),
        lacks=lacks,
    )


async def _write_tree(
    repository: Repository, work_tree: WorkTree, prefix: str, lacks: Lacks
) -> Written:
    """Write the tree of `work_tree`, contents of nested repositories included.

    What it lacks is added to `lacks`, with `prefix` before the names.
    """
    index = PrivateIndex(repository, work_tree)
    async with lock(index.lock, INDEX_WAIT_SECS):
        before = index.known()
        if before is None:
            await _copy_head(repository, work_tree)
        known, scan = await index.refresh()
        inner = {
            name: await _write_tree(
                repository,
                await _nested_tree(repository, work_tree, name),
                f"{prefix}{name}/",
                lacks,
            )
            for name in scan.nested
        }
        nested = {name: part.id for name, part in inner.items()}
        whole = known.whole
        if not nested:
            whole = known.tree
        elif nested != known.nested or known.accepted != known.tree:
            whole = await _insert(repository, known.tree, nested)
        pointers = known.pointers
        if known.accepted != known.tree:
            earlier = (known.accepted, pointers) if known.accepted else None
            pointers = await unfetched(repository, work_tree, known.tree, earlier)
        updated = replace(known, nested=nested, whole=whole, accepted=known.tree, pointers=pointers)
        if updated != before:
            index.learn(updated)
    found = await submodules_not_there(work_tree, scan.empty)
    found |= {"pointers": pointers, "left_out": sorted(scan.left_out)}
    lacks.add(prefix, found, work_tree.tracked_only)
    return Written(work_tree, whole or known.tree, inner)


async def _insert(repository: Repository, tree: str, nested: Mapping[str, str]) -> str:
    """The tree with the trees in `nested`, by name, as plain directories in it."""
    entries = []
    for name, inner in nested.items():
        listed = await repository.git.names("ls-tree", "-r", "-z", inner)
        entries += [entry.replace("\t", f"\t{name}/", 1) for entry in listed]
    return await repository.edit_tree(tree, entries)


async def _copy_head(repository: Repository, work_tree: WorkTree) -> None:
    """Copy the objects of HEAD's tree, as one pack: each file stored by itself costs more.

    What can't be copied (a partial clone hasn't got it, a SHA-256 repository names it differently)
    is made from the files later.
    """
    head, user = (await read_head(work_tree)).tree, work_tree.git
    if user is None or head is None or len(head) != SHA1_LENGTH:
        return
    if (await repository.git.run("cat-file", "-e", head)).ok:
        return
    objects = await user.line("rev-parse", "--path-format=absolute", "--git-path", "objects")
    both = replace(repository.git, extra=with_objects(objects))
    packing = ("pack-objects", "--revs", "--quiet", "--missing=allow-any")
    with suppress(InfrastructureError):
        pack = repository.path / "objects" / "pack" / "pack"
        await both.run(*packing, str(pack), stdin=f"{head}\n".encode())


async def _nested_tree(repository: Repository, outer: WorkTree, name: str) -> WorkTree:
    found = await find_work_tree(outer.root / name, repository.state_root)
    if found.root != outer.root / name:
        raise UsageError(
            f"{name} has a .git that git doesn't accept",
            "repair that repository, remove its .git, or ignore the directory",
        )
    return found


def _overlooked(names: list[str]) -> list[str]:
    why = "sparse checkout, skip-worktree or assume-unchanged"
    return [f"git overlooks that {shown(names)} differs from HEAD ({why})"] if names else []
