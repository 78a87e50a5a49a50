"""The merge of two commits in a bare repository, and moving a branch to it.

Ids are resolved before they are merged: of an unknown name `git merge-tree` says by its exit code
that it is a conflict. Renames and drivers are set in the command, so that neither the machine's
configuration nor the repository's decides what a merge is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pika_git.git import Git, GitError

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


def merge_trees(git: Git, onto: str, head: str) -> Merged:
    """Merge two commits that exist, by their ids.

    Raises:
        GitError: they can't be merged at all, for example without a common ancestor.
    """
    argv = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", onto, head)
    done = git.run(*(part for setting in _SETTINGS for part in setting), *argv)
    tree, _, rest = done.out.partition(b"\0")
    if done.code not in {0, _CONFLICT} or not _TREE.fullmatch(tree):
        raise GitError("merge-tree", done.code, done.err)
    names = dict.fromkeys(os.fsdecode(name) for name in rest.split(b"\0") if name)
    return Merged(tree.decode(), tuple(names) if done.code == _CONFLICT else ())


def contains(git: Git, onto: str, head: str) -> bool:
    """Whether the first commit has the second in its history."""
    done = git.run("merge-base", "--is-ancestor", head, onto)
    if done.code not in {0, 1}:
        raise GitError("merge-base", done.code, done.err)
    return done.code == 0


def write_commit(git: Git, tree: str, parents: tuple[str, ...], who: str, text: str) -> str:
    """Make a commit that no ref names yet; its id."""
    name = "".join(c for c in who if c.isprintable() and c not in "<>").strip() or "forge"
    person = {"NAME": name, "EMAIL": f"{re.sub('[^A-Za-z0-9._-]', '-', name)}@forge.invalid"}
    env = {f"GIT_{role}_{key}": v for role in ("AUTHOR", "COMMITTER") for key, v in person.items()}
    parts = [part for parent in parents for part in ("-p", parent)]
    argv = ("-c", "i18n.commitEncoding=UTF-8", "-c", "commit.gpgSign=false", "commit-tree")
    message = text.encode("utf-8", "backslashreplace").replace(b"\0", b"")
    return git.ok(*argv, tree, *parts, stdin=message, env=env).line


def move(git: Git, ref: str, new: str, old: str, unchanged: dict[str, str]) -> None:
    """Move a ref from one commit to another, if it and the other refs are still where they were.

    Raises:
        MovedError: one of them is elsewhere; nothing was changed.
        GitError: git could not, for another reason.
    """
    lines = ["start", f"update {ref}\0{new}\0{old}"]
    lines += [f"verify {name}\0{value}" for name, value in unchanged.items()]
    text = "\0".join([*lines, "prepare", "commit", ""])
    done = git.run("update-ref", "-z", "--stdin", stdin=os.fsencode(text))
    if done.code == 0:
        return
    wanted = {ref: old, **unchanged}
    moved = [name for name, value in wanted.items() if git.commit_of(name) != value]
    if moved:
        raise MovedError(", ".join(moved))
    raise GitError("update-ref", done.code, done.err)
