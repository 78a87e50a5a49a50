"""The merge of two commits in a bare repository, and moving a branch to it.

Ids are resolved before they are merged: of an unknown name `git merge-tree` says by its exit code
that it is a conflict. Renames and drivers are set in the command, so that neither the machine's
configuration nor the repository's decides what a merge is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pika_git.git import GitError, Repository

_TREE = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_CONFLICT = 1
_SETTINGS = (
    ("-c", "merge.renames=true"),
    ("-c", "merge.directoryRenames=conflict"),
    ("-c", "merge.renameLimit=10000"),
    ("-c", "merge.default=text"),
    ("-c", "core.attributesFile=/dev/null"),
)


@dataclass(frozen=True)
class Merged:
    """The tree of a merge; with conflicts it is no result, and these are the paths."""

    tree: str
    conflicts: tuple[str, ...] = ()


class MovedError(Exception):
    """A ref has another value by now than the one that was decided about."""


def merge_trees(git: Repository, onto: str, head: str) -> Merged:
    """Merge two commits that exist, by their ids.

    Raises:
        GitError: they can't be merged at all, for example without a common ancestor.
    """
    argv = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", onto, head)
    done = git.run(*(part for setting in _SETTINGS for part in setting), *argv)
    tree, _, rest = done.out.partition(b"\0")
    if done.code not in {0, _CONFLICT} or not _TREE.fullmatch(tree):
        raise GitError(f"could not merge {onto[:12]} and {head[:12]}: {done.reason}")
    names = dict.fromkeys(os.fsdecode(name) for name in rest.split(b"\0") if name)
    return Merged(tree.decode(), tuple(names) if done.code == _CONFLICT else ())


def contains(git: Repository, onto: str, head: str) -> bool:
    """Whether the first commit has the second in its history."""
    done = git.run("merge-base", "--is-ancestor", head, onto)
    if done.code not in {0, 1}:
        raise GitError(f"could not compare {onto[:12]} and {head[:12]}: {done.reason}")
    return done.code == 0


def write_commit(git: Repository, tree: str, parents: tuple[str, ...], who: str, text: str) -> str:
    """Make a commit that no ref names yet; its id."""
    name = "".join(c for c in who if c.isprintable() and c not in "<>").strip(" .,:;") or "forge"
    email = re.sub("[^A-Za-z0-9._-]", "-", name) + "@forge.invalid"
    settings = (f"user.name={name}", f"user.email={email}", "i18n.commitEncoding=UTF-8")
    argv = [part for setting in settings for part in ("-c", setting)]
    argv += ["commit-tree", "--no-gpg-sign", tree]
    argv += [part for parent in parents for part in ("-p", parent)]
    message = text.encode("utf-8", "backslashreplace").replace(b"\0", b"")
    return git.out(*argv, stdin=message)


def move(git: Repository, ref: str, new: str, old: str, unchanged: dict[str, str]) -> None:
    """Move a ref from one commit to another, if it and the other refs are still where they were.

    Raises:
        MovedError: one of them is elsewhere; nothing was changed.
        GitError: git could not, for another reason.
    """
    lines = [f"update {ref} {new} {old}"]
    lines += [f"verify {name} {value}" for name, value in unchanged.items()]
    done = git.update_refs(lines)
    if done.code == 0:
        return
    wanted = {ref: old, **unchanged}
    moved = [name for name, value in wanted.items() if git.commit(name) != value]
    if moved:
        raise MovedError(", ".join(moved))
    raise GitError(f"could not move {ref}: {done.reason}")
