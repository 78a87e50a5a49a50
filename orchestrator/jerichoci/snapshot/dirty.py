"""Whether what was written of a work tree differs from the user's HEAD."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import GITLINK_MODE, NO, Git, split_names, with_objects
from jerichoci.snapshot.work_tree import Head, WorkTree, is_empty_directory, read_head
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.snapshot.repository import Repository

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The SHA-1 id of a tree without entries."""
_STATUS = ("status", "--porcelain", "-z", "--no-renames")
_DIFF = ("diff-tree", "-r", "--raw", "-z", "--no-renames", "--ignore-submodules=none")
FEW_FILES = 256
"""Up to here, hashing changed files again is cheaper than git's look at all of them."""


@dataclass(frozen=True)
class Written:
    """A work tree and the tree `id` written of it; `nested` has those of the repositories in it."""

    tree: WorkTree
    id: str
    nested: Mapping[str, Written]


async def is_dirty(
    repository: Repository, written: Written, head: Head
) -> tuple[bool | None, list[str]]:
    """Whether what was written has anything that HEAD hasn't, or the reverse; None outside git.

    HEAD's submodules count as they are at the commits it names. What git's conversions (line ends,
    filters) or core.fileMode alone make different is no difference. The names are those that differ
    but that git was told to overlook, sorted.
    """
    git = written.tree.git
    if git is None:
        return None, []
    if written.id == (head.tree or EMPTY_TREE):
        return False, []
    if head.tree is None:
        return True, []
    differing = await _differing(repository, git, head.tree, written.id)
    if differing is None:
        status = await git.names(*_STATUS, "--ignore-submodules=none")
        return any(not written.tree.is_private(entry[3:]) for entry in status), []
    links = {name: e.blob for name, e in differing.items() if e.old_mode == GITLINK_MODE}
    inside = tuple(f"{name}/" for name in links)
    own = {name: e for name, e in differing.items() if not f"{name}/".startswith(inside)}
    alike = _alike(written.tree, own)
    moved, hidden = await _moved(repository, written, links)
    asked = [*moved, *(name for name, entry in own.items() if entry.status != "A")]
    overlooked = await _overlooked(git, asked)
    edited = {name: blob for name, blob in alike.items() if name in overlooked}
    if edited and not await _content_differs(git, edited):
        edited = {}
    if moved or edited or len(alike) < len(own):
        hidden += overlooked.intersection(asked) - (alike.keys() - edited.keys())
        return True, sorted(hidden)
    return await _differs(git, alike), []


@dataclass(frozen=True)
class _Entry:
    """How a name differs from HEAD: its modes there and here, its blob there, git's letter."""

    old_mode: str
    mode: str
    blob: str
    status: str


async def _differing(
    repository: Repository, git: Git, head_tree: str, snapshot: str
) -> dict[str, _Entry] | None:
    """The names that differ between HEAD and the snapshot; None where git can't tell."""
    both = replace(git, extra=with_objects(repository.path / "objects"))
    done = await both.run(*_DIFF, head_tree, snapshot)
    if not done.ok:
        return None
    fields = split_names(done.stdout)
    entries = (meta.lstrip(":").split(" ") for meta in fields[::2])
    return {
        name: _Entry(old, new, blob, status)
        for (old, new, blob, _, status), name in zip(entries, fields[1::2], strict=True)
    }


def _alike(tree: WorkTree, own: Mapping[str, _Entry]) -> dict[str, str]:
    """Names that have HEAD's mode, as far as git trusts those on disk, with their blobs there."""
    off = {name for name, value in dict(tree.settings).items() if value.lower() in NO}
    same = {("100644", "100755"), ("100755", "100644")} if "core.filemode" in off else set()
    if "core.symlinks" in off:
        same.add(("120000", "100644"))
    return {
        name: entry.blob
        for name, entry in own.items()
        if entry.old_mode == entry.mode or (entry.old_mode, entry.mode) in same
    }


async def _moved(
    repository: Repository, written: Written, links: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Submodules that are not as the commits in `links` have them, and what git overlooks there."""
    moved, hidden = [], []
    for name, commit in links.items():
        if nested := written.nested.get(name):
            head = await read_head(nested.tree, commit)
            differs, names = await is_dirty(repository, nested, head)
            hidden += [f"{name}/{inner}" for inner in names]
        else:
            differs = not is_empty_directory(written.tree.path(name))
        if differs:
            moved.append(name)
    return moved, hidden


async def _overlooked(git: Git, names: list[str]) -> set[str]:
    """Those of `names`, and perhaps others, that git was told to overlook."""
    if not names:
        return set()
    literal = replace(git, extra={"GIT_LITERAL_PATHSPECS": "1"})
    asked = names if len(names) <= FEW_FILES // 4 else []
    flags = await literal.names("ls-files", "-v", "-z", "--", *asked)
    # `S` is skip-worktree, lower case assume-unchanged.
    return {flag[2:] for flag in flags if flag[0] in "Ss" or flag[0].islower()}


async def _differs(git: Git, alike: dict[str, str]) -> bool:
    """Whether files that have HEAD's mode differ in more than git's conversions make of them."""
    if len(alike) <= FEW_FILES:
        return bool(alike) and await _content_differs(git, alike)
    status = await git.names(*_STATUS, "--untracked-files=no", "--ignore-submodules=all")
    return any(entry[3:] in alike for entry in status)


async def _content_differs(git: Git, modified: dict[str, str]) -> bool:
    quoted = b"".join(_quoted(os.fsencode(name)) + b"\n" for name in modified)
    done = await git.run("hash-object", "--stdin-paths", stdin=quoted)
    return not done.ok or done.stdout.decode().split() != list(modified.values())


def _quoted(name: bytes) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%b"' % escaped
