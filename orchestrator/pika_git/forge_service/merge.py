"""Merging a branch into its repository's default branch, on the forge, if the gate lets it.

A merge that needs lanes to run on its result waits for their run. `settle` does it when they are
green, if both branches are still where they were: so what is merged is what was looked at. The row
of a merge says `moving` before the branch is moved, and a forge that was killed in between finds
out by it what became of the branch.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime.holds import hold
from pika_git.forge_runtime.poll import poll
from pika_git.forge_service.merge_result import MovedError, contains, move
from pika_git.forge_service.proposal import (
    Proposal,
    RefusedError,
    facts,
    lanes_to_run,
    propose,
    short,
)
from pika_git.git import GitError, Repository
from pika_git.persistence import audit, merges, queue, repos, runs

if TYPE_CHECKING:
    from pika_git.data import DataDir
    from pika_git.persistence.database import Connection, Database
    from pika_git.persistence.merges import Branch, Merge

TRIES = 3
"""How often a merge is begun anew because the target moved meanwhile."""
NEWER = "a newer merge was asked for"


@dataclass(frozen=True)
class Outcome:
    """`merged` by a commit, or `waiting` for a run on it."""

    state: str
    merge_commit: str
    run_id: int | None
    message: str


@dataclass(frozen=True)
class Gate:
    """Merges branches of the forge's repositories."""

    database: Database
    data: DataDir

    def merge(self, branch_id: int, by: str, why: str = "", *, force: bool = False) -> Outcome:
        """Merge a branch, or have the lanes run that it takes; `force` asks no lane.

        Raises:
            RefusedError: it may not be merged; the message says why.
        """
        for attempt in range(TRIES):
            branch = self._current(branch_id)
            try:
                return self._merge(branch, by, why, force=force)
            except MovedError as moved:
                if branch.ref in str(moved) or attempt == TRIES - 1:
                    raise _moved(str(moved)) from None
            except GitError as error:
                raise RefusedError(str(error)) from None
        raise AssertionError

    def close(self, branch_id: int, by: str, why: str = "") -> None:
        """Close a branch: what its lanes still do is cancelled.

        Raises:
            RefusedError: it is not open.
        """
        with self.database.write() as connection:
            branch = merges.branch(connection, branch_id)
            if branch is None:
                raise RefusedError(f"there is no branch {branch_id}")
            if any(row.state == "moving" for row in merges.open_merges(connection, branch_id)):
                raise RefusedError(f"{short(branch.ref)} is being merged at this moment")
            now = self.database.clock(connection)
            runs = merges.mark_closed(connection, branch_id, now)
            if runs is None:
                raise RefusedError(f"{short(branch.ref)} is not open: {branch.state}")
            merges.end_open(connection, branch_id, now, "the branch was closed")
            self._note(connection, branch, "close", by, why, {"ref": branch.ref})
        for run in runs:
            with suppress(queue.RefusedError):  # it has ended meanwhile
                queue.cancel_run(self.database, run, by, f"{short(branch.ref)} was closed")

    def settle(self) -> int:
        """Do or end the merges that waited for a run which is over; how many ended."""
        with self.database.read() as connection:
            rows = merges.open_merges(connection)
        done = [row for row in rows if row.state == "waiting"]
        done = [row for row in done if row.run_state not in merges.UNFINISHED]
        for row in done:
            self._settle(row)
        return len(done)

    def recover(self) -> None:
        """Bring merges to an end in which a forge was killed; before any other is asked for."""
        with self.database.read() as connection:
            rows = merges.open_merges(connection)
        for row in rows:
            if row.state == "moving":
                self._settle(row)

    def _current(self, branch_id: int) -> Branch:
        with self.database.read() as connection:
            branch = merges.branch(connection, branch_id)
        if branch is None:
            raise RefusedError(f"there is no branch {branch_id}")
        self._poll(branch.repo_id)  # what was pushed a moment ago counts
        with self.database.read() as connection:
            branch = merges.branch(connection, branch_id) or branch
        if branch.state != "open" or branch.head is None:
            raise RefusedError(f"{short(branch.ref)} is {branch.state}", "push to it to open it")
        if branch.ref == branch.target_ref:
            raise RefusedError(f"{short(branch.ref)} is what others are merged into")
        return branch

    def _poll(self, repo_id: int, pushers: dict[tuple[str, str], str] | None = None) -> None:
        with self.database.read() as connection:
            repo = repos.get(connection, repo_id)
        if repo is not None:
            poll(self.database, repo, pushers)

    def _merge(self, branch: Branch, by: str, why: str, *, force: bool) -> Outcome:
        proposal = propose(branch, by, why)
        with self.database.read() as connection:
            waiting = merges.open_merges(connection, branch.id)
        for row in waiting:
            if (row.head, row.target_head) == (proposal.head, proposal.onto) and not force:
                return Outcome("waiting", row.merge_commit, row.run_id, _waits(row.run_id))
        try:
            to_run = self._lanes_to_run(proposal)
        except RefusedError as refused:
            if not force:
                raise
            return self._move(proposal, refused.message, forced=True)
        if force:
            overruled = f"not run on the merge result: {', '.join(to_run)}" if to_run else ""
            return self._move(proposal, overruled, forced=True)
        return self._run(proposal, to_run) if to_run else self._move(proposal)

    def _lanes_to_run(self, proposal: Proposal) -> tuple[str, ...]:
        with self.database.read() as connection:
            found = facts(connection, proposal)
        return lanes_to_run(proposal, found, self.data.state_root(proposal.branch.repo_id))

    def _run(self, proposal: Proposal, lanes: tuple[str, ...]) -> Outcome:
        with self.database.write() as connection:
            now = self.database.clock(connection)
            merges.end_open(connection, proposal.branch.id, now, NEWER)
            run = runs.create(
                connection,
                repo=proposal.branch.repo_id,
                kind="merge",
                ref=proposal.branch.ref,
                head=proposal.commit,
                by=proposal.by,
                now=now,
                base=proposal.onto,
                asked=runs.Asked(lanes=lanes),
            )
            hold(proposal.git, run, proposal.commit)
            message = f"runs {', '.join(lanes)} on the merge result"
            values = {"state": "waiting", "message": message}
            merges.begin(connection, now, **proposal.row, **values, run_id=run)
        return Outcome("waiting", proposal.commit, run, f"{message}; {_waits(run)}")

    def _move(self, proposal: Proposal, overruled: str = "", *, forced: bool = False) -> Outcome:
        branch = proposal.branch
        with self.database.write() as connection:
            now = self.database.clock(connection)
            merges.end_open(connection, branch.id, now, NEWER)
            values = {"state": "moving", "message": overruled or None, "forced": forced}
            merge = merges.begin(connection, now, **proposal.row, **values)
        try:
            unchanged = {branch.ref: proposal.head}
            move(proposal.git, branch.target_ref, proposal.commit, proposal.onto, unchanged)
        except (MovedError, GitError) as error:
            with self.database.write() as connection:
                now = self.database.clock(connection)
                merges.end(connection, merge, "refused", now, str(error))
            raise
        self._done(branch, self._open(merge))
        return Outcome("merged", proposal.commit, None, f"merged into {short(branch.target_ref)}")

    def _open(self, merge: int) -> Merge:
        with self.database.read() as connection:
            return next(row for row in merges.open_merges(connection) if row.id == merge)

    def _done(self, branch: Branch, row: Merge) -> None:
        with self.database.write() as connection:
            now = self.database.clock(connection)
            merges.end(connection, row.id, "merged", now)
            merges.mark_merged(connection, row, now)
            detail = {"ref": branch.ref, "into": row.target_ref, "commit": row.merge_commit}
            if row.forced and row.message:
                detail["overruled"] = row.message
            action = "merge by force" if row.forced else "merge"
            self._note(connection, branch, action, row.requested_by, row.why, detail)
        pusher = {(row.target_ref, row.merge_commit): f"{row.requested_by}, by a merge"}
        self._poll(branch.repo_id, pusher)  # our own update runs no hook

    def _settle(self, row: Merge) -> None:
        with self.database.read() as connection:
            branch = merges.branch(connection, row.branch_id)
        assert branch is not None  # noqa: S101 - a foreign key
        if row.state == "waiting" and row.run_state == "success":
            with self.database.write() as connection:
                now = self.database.clock(connection)
                if not merges.end(connection, row.id, "moving", now):  # the branch was closed
                    return
        problem = self._finish(branch, row)
        if problem is None:
            self._done(branch, row)
            return
        with self.database.write() as connection:
            now = self.database.clock(connection)
            merges.end(connection, row.id, "refused", now, problem)
            self._note(
                connection, branch, "merge refused", row.requested_by, row.why, {"why": problem}
            )

    def _note(  # noqa: PLR0913, PLR0917 - what an entry of the audit has
        self,
        connection: Connection,
        branch: Branch,
        action: str,
        who: str,
        why: str,
        detail: dict[str, str],
    ) -> None:
        audit.record(
            connection,
            who=who,
            action=action,
            subject=f"branch {branch.id}",
            why=why,
            now=self.database.clock(connection),
            detail=detail,
        )

    @staticmethod
    def _finish(branch: Branch, row: Merge) -> str | None:
        """Move the target if that is what is left to do; why it can't be."""
        git = Repository(Path(branch.path))
        try:
            if contains(git, row.target_ref, row.merge_commit):
                return None
            if row.state == "waiting" and row.run_state != "success":
                return f"run {row.run_id}, on the merge result, is {row.run_state}"
            move(git, row.target_ref, row.merge_commit, row.target_head, {branch.ref: row.head})
        except MovedError as moved:
            return _moved(str(moved)).message
        except GitError as error:
            return str(error)
        return None


def _waits(run: int | None) -> str:
    return f"it is merged when run {run} is green"


def _moved(refs: str) -> RefusedError:
    names = ", ".join(short(name) for name in refs.split(", "))
    return RefusedError(f"{names} moved meanwhile", "look at what is new, and merge again")
