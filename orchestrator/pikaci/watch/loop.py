"""Runs what is wanted, and again what a change of the working tree selects.

A round is a snapshot, an evaluation and the runs of what is selected. A settled change that selects
something that is being run cancels the round, which ends in order, with its records; other changes
wait for its end. What fails before there is a run, as an evaluation does, is printed, and the next
change is waited for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from jerichoci.errors import CatalogError, PikaciError, UsageError
from jerichoci.exit_codes import EXIT_CANCELLED
from jerichoci.record.event import EventBase, RunFinished
from jerichoci.record.store import RunStore
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.snapshot.work_tree import find_work_tree
from jerichoci.status import Status
from pikaci.failed import failed_jobs, has_ended, last_targets
from pikaci.lanes import lanes_of
from pikaci.location import find_source, state_layout
from pikaci.screen import as_utf8, one_line
from pikaci.sourcing import take_tree
from pikaci.wanted import plan_all
from pikaci.watch.selecting import Selecting
from pikaci.watch.watcher import UNSETTLED_SECS, Watcher, watching
from pikaci.work import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jerichoci.record.record import RunRecord
    from jerichoci.state.layout import StateLayout
    from pikaci.location import FlakeOptions, SourceTree
    from pikaci.wanted import Wanted

    Run = Callable[[Sequence[Work], "Ends"], Awaitable[Sequence[RunRecord]]]

NAMED = 3
"""How many changed files are named."""


async def watch(wanted: Wanted, flake: FlakeOptions, run: Run) -> int:
    """Run what is wanted by `run`, again and again, until a signal ends that; the exit code."""
    tree = find_source(flake.directory)
    state = state_layout(flake.state_root, str(tree.root))
    state.make()
    work_tree = await find_work_tree(tree.root, state.root)
    async with watching(work_tree, say) as watcher:
        if wanted.failed and not (wanted.targets or wanted.all_targets or wanted.lanes):
            wanted = replace(wanted, targets=tuple(last_targets(RunStore(state.root))))
        selecting = Selecting(wanted, state.root)
        return await _Loop(flake, tree, state, selecting, run).go(watcher)


def say(text: str) -> None:
    """Print a line for people."""
    click.echo(f"pikaci: {one_line(text)}", err=True)


class Ends:
    """Hears which runs of a round have ended."""

    def __init__(self, ran: dict[str, str], tree: str, targets: Sequence[str]) -> None:
        self._ran = ran
        self._tree = tree
        self.running = set(targets)
        for target in targets:
            ran.pop(target, None)

    def emit(self, event: EventBase) -> None:
        """Take note of an event."""
        if isinstance(event, RunFinished) and event.run.status is not Status.CANCELLED:
            self._ran[event.run.target_id] = self._tree
            self.running.discard(event.run.target_id)

    def handling_signals(self) -> AbstractContextManager[None]:
        """Between runs, a signal ends the command."""
        return nullcontext()


class _Loop:
    """What is run, and on what."""

    def __init__(
        self,
        flake: FlakeOptions,
        tree: SourceTree,
        state: StateLayout,
        selecting: Selecting,
        run: Run,
    ) -> None:
        self._flake = flake
        self._tree = tree
        self._state = state
        self._selecting = selecting
        self._run = run
        self._seen = ""
        """The tree of the last round."""
        self._ends: Ends | None = None
        """Of the runs that are under way; None while their targets are not known."""
        self._is_first = True
        self._is_broken = False
        """Whether there is no plan at the tree of the last round, which was told."""
        self._has_terminal = os.isatty(sys.stderr.fileno())

    async def go(self, watcher: Watcher) -> int:
        """Run round after round."""
        is_unsettled = False
        while True:
            is_due = await self._supervise(watcher)
            self._is_first = False
            if is_due is None:
                return EXIT_CANCELLED
            if is_due:
                continue
            say(f"watching {self._tree.root} for changes; Ctrl-C ends it")
            change = await watcher.next()
            if not change.is_settled and not is_unsettled:
                say(
                    f"the tree does not settle: {as_utf8(change.name)} and others have changed for"
                    f" {UNSETTLED_SECS:g} s without a pause; running on what is there. Let git"
                    " ignore what is written all the time"
                )
            is_unsettled = not change.is_settled

    async def _supervise(self, watcher: Watcher) -> bool | None:
        """Have a round, and cancel it when it is out of date.

        Whether another one is due; None if the runs were cancelled by someone else.
        """
        working = asyncio.create_task(self._round())
        hearing = asyncio.create_task(watcher.next())
        is_due = False
        try:
            while True:
                await asyncio.wait({working, hearing}, return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    return is_due if working.result() else None
                change = hearing.result()
                is_due = True
                hearing = asyncio.create_task(watcher.next())
                if change.is_settled and await self._is_out_of_date():
                    return True
        finally:
            hearing.cancel()
            working.cancel()
            await asyncio.gather(working, hearing, return_exceptions=True)

    async def _round(self) -> bool:
        """Plan and run what is selected; false if the runs were cancelled by someone else."""
        self._ends = None
        try:
            works = await self._planned()
            if not works:
                return True
            targets = [work.planned.plan.target_id for work in works]
            self._ends = Ends(self._selecting.ran, self._seen, targets)
            records = await self._run(works, self._ends)
        except (PikaciError, OSError) as error:
            if (
                self._is_first
                and isinstance(error, UsageError)
                and not isinstance(error, CatalogError)
            ):
                raise
            say(str(error))
            return True
        return all(map(self._may_go_on, records))

    async def _planned(self) -> list[Work]:
        """The plans of what is selected; none if that is nothing."""
        before = self._seen
        taken = await take_tree(self._flake, None, read_only=False)
        self._seen = taken.snapshot.tree
        targets = await self._selecting.targets(taken)
        if before == self._seen and self._is_broken:
            return []
        if before and (files := await self._selecting.changed(before, self._seen)):
            what = f"running {', '.join(targets)}" if targets else "no target is selected"
            say(f"{_named(files)} changed: {what}")
        self._is_broken = True
        planned = await plan_all(taken, targets) if targets else []
        self._is_broken = False
        works = [Work(each, self._selecting.wanted.jobs) for each in planned]
        return self._only_failed(works) if self._selecting.wanted.failed else works

    def _only_failed(self, works: Sequence[Work]) -> list[Work]:
        """What failed last of each target; where nothing did, all, but not in the first round."""
        store = RunStore(self._state.root)
        found = []
        for work in works:
            plan = work.planned.plan
            target, known = plan.target_id, [node.job_id for node in plan.jobs]
            failed = set(failed_jobs(store, target)) if has_ended(store, target) else set()
            jobs = tuple(job for job in known if job in failed)
            if jobs or not self._is_first:
                found.append(replace(work, jobs=jobs))
            else:
                say(f"no job of {target} failed last")
                self._selecting.ran[target] = self._seen
        return found

    async def _is_out_of_date(self) -> bool:
        """Whether the tree is another now, in what the runs under way are about."""
        try:
            tree = (await take_snapshot(self._state.root, self._tree.root)).tree
            lanes = lanes_of(self._tree)
        except (PikaciError, OSError):
            return False  # the next round tells
        if tree == self._seen:
            return False
        if self._ends is None:
            return True
        selecting = self._selecting
        return any(
            [await selecting.selects(name, self._seen, tree, lanes) for name in self._ends.running]
        )

    def _may_go_on(self, record: RunRecord) -> bool:
        """Whether a run ended by itself, or by `pikaci cancel`, which is about that run alone."""
        if self._has_terminal and not os.isatty(sys.stderr.fileno()):
            return False  # it hung up
        asked = self._state.run(record.run_id).cancel_request
        return record.status is not Status.CANCELLED or asked.exists()


def _named(files: Sequence[str]) -> str:
    """Some of the names of files, and how many they are."""
    some = ", ".join(map(as_utf8, files[:NAMED]))
    return f"{some} and {len(files) - NAMED} more" if len(files) > NAMED else some
