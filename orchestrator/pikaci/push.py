"""What a push would run: for each ref, the lanes that its change selects, at the commit pushed.

git tells its pre-push hook each ref as `LOCAL_REF LOCAL_ID REMOTE_REF REMOTE_ID`; an id of zeros
is no commit. The change of a ref begins at what the remote has. If that is no commit that is here,
as for a new branch, it begins at the last commit that the remote is known to have.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.snapshot.git import Git
from jerichoci.state.dataclass import dataclass
from pikaci.changes import file_at
from pikaci.location import LANES_FILE
from pikaci.screen import one_line
from pikaci.wanted import Wanted, plan_wanted

if TYPE_CHECKING:
    from pathlib import Path

    from pikaci.location import FlakeOptions, SourceTree
    from pikaci.work import Work

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NOT_TESTED = ("refs/tags/", "refs/notes/")
MOST_BYTES = 16 * 1024 * 1024
"""Of what git says: a hundred thousand refs."""


@dataclass(frozen=True)
class Pushed:
    """A ref that is pushed: its commit, the ref there, and what that has now, if anything."""

    commit: str
    ref: str
    before: str | None


def parse_pushed(text: str) -> list[Pushed]:
    """The branches that are pushed; not those that are deleted, nor tags and notes."""
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) != 4 or not (_ID.fullmatch(words[1]) and _ID.fullmatch(words[3])):  # noqa: PLR2004 - as git documents it
            raise UsageError(
                f"{one_line(line)!r} is not what git tells a pre-push hook",
                "git starts this command",
            )
        _, commit, ref, before = words
        if _is_commit(commit) and not ref.startswith(_NOT_TESTED):
            found.append(Pushed(commit, ref, before if _is_commit(before) else None))
    return found


async def plan_push(
    pushed: Pushed, remote: str, tree: SourceTree, flake: FlakeOptions
) -> list[Work]:
    """Plan what the push of a ref to `remote`, a name or a URL, would run."""
    name = one_line(pushed.ref.removeprefix("refs/heads/"))
    lanes = os.path.join(tree.flake_dir, LANES_FILE)  # noqa: PTH118 - a name in the repository
    if await file_at(tree.root, pushed.commit, lanes) is None:
        say(f"{name} has no {lanes}: nothing is run for it")
        return []
    base = await _base(tree.root, pushed, remote)
    say(f"what is pushed to {name}, {pushed.commit[:12]}, selects:")
    wanted = Wanted(lanes=True, base=base, head=pushed.commit)
    return await plan_wanted(wanted, flake, read_only=False)


def say(text: str) -> None:
    """Print a line for people."""
    click.echo(f"pikaci: {text}", err=True)


async def _base(repo: Path, pushed: Pushed, remote: str) -> str | None:
    """The commit where the change begins; None if all of it is new."""
    git = Git(cwd=repo)
    if pushed.before and (await git.run("cat-file", "-e", f"{pushed.before}^{{commit}}")).ok:
        shared = await git.run("merge-base", pushed.before, pushed.commit)
        if shared.ok:
            return pushed.before
    names = (await git.out("remote")).decode("utf-8", "surrogateescape").split()
    known = f"--remotes={remote}" if remote in names else "--remotes"
    new = await git.out("rev-list", "--topo-order", "--parents", pushed.commit, "--not", known)
    if not new:
        return pushed.commit
    _, *parents = new.decode().splitlines()[-1].split()
    return parents[0] if parents else None


def _is_commit(name: str) -> bool:
    return bool(name.strip("0"))
