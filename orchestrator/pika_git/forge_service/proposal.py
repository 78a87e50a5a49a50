"""What a merge would be, and which lanes it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.gate import Evidence, judge
from pika_git.forge_service.merge_result import MovedError, contains, merge_trees, write_commit
from pika_git.forge_service.selecting import SelectionError, select_lanes
from pika_git.git import Repository
from pika_git.persistence import merges, queue

if TYPE_CHECKING:
    from pika_git.persistence.database import Connection
    from pika_git.persistence.merges import Branch, RunState, Verdict

HEADS = "refs/heads/"
MAX_PATHS = 10


class RefusedError(queue.RefusedError):
    """The branch may not be merged, or not now."""


@dataclass(frozen=True)
class Proposal:
    """A merge that is looked at: a commit that no ref names yet."""

    git: Repository
    branch: Branch
    head: str
    onto: str
    tree: str
    commit: str
    by: str
    why: str

    @property
    def row(self) -> dict[str, str | int]:
        """Its columns."""
        return {
            "branch_id": self.branch.id,
            "target_ref": self.branch.target_ref,
            "target_head": self.onto,
            "head": self.head,
            "merge_commit": self.commit,
            "requested_by": self.by,
            "why": self.why,
        }


@dataclass(frozen=True)
class Facts:
    """What has run so far: the head's run, and the newest verdicts on its tree and the result's."""

    is_pending: bool  # a push was seen, and no run made of it yet
    run: RunState | None
    on_head: dict[str, Verdict]
    on_result: dict[str, Verdict]


def propose(branch: Branch, by: str, why: str) -> Proposal:
    """Merge a branch's head into the target's, in a commit that no ref names.

    Raises:
        RefusedError: there is nothing to merge, or it conflicts.
        MovedError: the branch is not where it was when it was last looked at.
    """
    git = Repository(Path(branch.path))
    head, onto = git.commit(branch.ref), git.commit(branch.target_ref)
    name, target = short(branch.ref), short(branch.target_ref)
    if head is None or head != branch.head:
        raise MovedError(branch.ref)
    if onto is None:
        raise RefusedError(f"there is no branch {target} to merge into", f"push {target} first")
    if contains(git, onto, head):
        raise RefusedError(f"{target} has all of {name} already")
    merged = merge_trees(git, onto, head)
    if merged.conflicts:
        raise _conflict(name, target, merged.conflicts)
    text = f"Merge branch '{name}'" + (f"\n\n{why.strip()}\n" if why.strip() else "\n")
    commit = write_commit(git, merged.tree, (onto, head), by, text)
    return Proposal(git, branch, head, onto, merged.tree, commit, by, why)


def facts(connection: Connection, proposal: Proposal) -> Facts:
    """What ran on the branch's head and on the merge result's tree."""
    repo, head = proposal.branch.repo_id, proposal.head
    return Facts(
        is_pending=merges.is_pending(connection, repo, proposal.branch.ref),
        run=merges.newest_run(connection, proposal.branch.id, head),
        on_head=merges.verdicts(connection, repo, proposal.git.tree(head), head),
        on_result=merges.verdicts(connection, repo, proposal.tree, proposal.commit),
    )


def lanes_to_run(proposal: Proposal, found: Facts, state_root: Path) -> tuple[str, ...]:
    """The lanes that have to run on the merge result.

    Raises:
        RefusedError: that would not help: a lane is red, or not over, or no such lane is there.
    """
    run = found.run
    if found.is_pending or (run is not None and run.state == "planning"):
        raise RefusedError(
            f"the lanes of {proposal.head[:12]} are being planned", "`ph wait` waits for them"
        )
    if run is not None and run.state == "failed" and run.message:
        raise RefusedError(f"run {run.id} failed: {run.message}", run.hint)
    judgement = judge(_evidence(proposal, found, state_root))
    if judgement.refusals:
        raise RefusedError("; ".join(judgement.refusals), "`ph status` shows the branch's lanes")
    return judgement.to_run


def _evidence(proposal: Proposal, found: Facts, state_root: Path) -> Evidence:
    git, head, onto, commit = proposal.git, proposal.head, proposal.onto, proposal.commit
    flake_dir = proposal.branch.flake_dir

    def select(base: str, lanes_of: str) -> list[dict[str, Any]]:
        return select_lanes(git, state_root, (base, commit), lanes_of, flake_dir)

    has_moved = git.tree(head) != proposal.tree
    try:
        of_branch, of_target = select(onto, head), select(onto, onto)
        of_result = select(head, commit) if has_moved else of_branch
    except SelectionError as error:
        raise RefusedError(error.message, error.hint) from None
    required = dict.fromkeys(_selected(of_branch), "the branch")
    required |= dict.fromkeys(_selected(of_target), short(proposal.branch.target_ref))
    return Evidence(
        required=required,
        targets=_selected(of_target),
        runnable={str(lane["id"]): str(lane["target"]) for lane in of_result},
        on_result=found.on_result,
        on_head=found.on_head,
        touched=frozenset(_selected(of_result) if has_moved else ()),
    )


def _selected(lanes: list[dict[str, Any]]) -> dict[str, str]:
    return {str(lane["id"]): str(lane["target"]) for lane in lanes if lane["selected"]}


def short(ref: str) -> str:
    """A branch as people call it."""
    return ref.removeprefix(HEADS)


def _conflict(name: str, target: str, paths: tuple[str, ...]) -> RefusedError:
    shown = [path.encode("utf-8", "backslashreplace").decode() for path in paths[:MAX_PATHS]]
    more = f" and {len(paths) - MAX_PATHS} more" if len(paths) > MAX_PATHS else ""
    return RefusedError(
        f"{name} conflicts with {target} in {', '.join(shown)}{more}",
        f"merge {target} into {name}, solve the conflicts, and push",
    )
