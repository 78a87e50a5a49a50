"""What `pikaci run` is asked to run: targets by name, all, those of lanes, or a plan of a set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from jerichoci.errors import PikaciError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_id
from pikaci.screen import as_utf8
from pikaci.work import Filtered, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pikaci.location import FlakeOptions
    from pikaci.sourcing import Planned, Taken


@dataclass(frozen=True)
class Wanted:
    """The targets of a command line, and where they come from."""

    targets: tuple[str, ...] = ()
    all_targets: bool = False
    lanes: bool = False
    jobs: tuple[str, ...] = ()
    changed_since: str | None = None
    base: str | None = None
    head: str | None = None
    source: str | None = None
    plan_file: str | None = None
    failed: bool = False
    watch: bool = False
    reuse: bool = False

    def is_nothing(self) -> bool:
        """Whether no target is asked for, in whatever way."""
        named = self.targets or self.all_targets or self.lanes or self.plan_file
        return not (named or self.failed)

    def is_several(self) -> bool:
        """Whether it is asked for in a way that may be several, however many it is."""
        return len(set(self.targets)) > 1 or self.all_targets or self.lanes

    def check(self, system: str | None) -> None:
        """Refuse what can't be meant together."""
        of_a_set = self.plan_file is not None
        changes = self.changed_since or self.base or self.head
        for is_wrong, why in (
            (
                bool(self.targets) + self.all_targets + self.lanes > 1,
                "give targets, --all or --lanes: one of them",
            ),
            (
                of_a_set and (self.source or system or changes),
                "--plan has its source, system and changes: give no others",
            ),
            (
                of_a_set and (self.all_targets or self.lanes),
                "--plan has its targets: name those to run",
            ),
            (
                self.source is not None and (self.changed_since or self.head),
                (
                    "--changed-since and --head are about this working tree's repository:"
                    " --source has another"
                ),
            ),
            (
                self.base and not self.lanes,
                "--base is for --lanes; for targets there is --changed-since",
            ),
            (self.base and self.changed_since, "--base and --changed-since say the same: give one"),
            (
                self.head and not self.base,
                "--head is for --base, or give --source git+URL?rev=REV",
            ),
            (self.jobs and self.is_several(), "--job is for one target"),
            (self.jobs and self.failed, "give --job or --failed: one of them"),
            (
                self.failed and (of_a_set or self.source or self.head),
                "--failed runs on the working tree: give no --plan, --source, --head",
            ),
            (
                self.watch and (of_a_set or self.source or self.head),
                "--watch runs on the working tree: give no --plan, --source, --head",
            ),
        ):
            if is_wrong:
                raise click.UsageError(why)


async def plan_wanted(wanted: Wanted, flake: FlakeOptions, *, read_only: bool) -> list[Work]:
    """Plan what is wanted, in one evaluation; nothing if no lane is selected or nothing failed.

    Raises:
        PikaciError: one of the targets has no plan.
    """
    if not wanted.failed:
        return await _plan(wanted, flake, read_only=read_only)
    from jerichoci.record.store import RunStore
    from pikaci.failed import with_failed_jobs

    if not (wanted.all_targets or wanted.lanes):
        wanted = _what_failed(wanted, flake)
        if not wanted.targets:
            return []
    works = await _plan(wanted, flake, read_only=read_only)
    return with_failed_jobs(RunStore(works[0].planned.state.root), works) if works else []


def _what_failed(wanted: Wanted, flake: FlakeOptions) -> Wanted:
    """The targets of which jobs failed."""
    from pikaci.failed import failed_jobs, last_targets
    from pikaci.location import open_store

    store = open_store(flake.state_root, flake.directory)
    targets = dict.fromkeys(wanted.targets or last_targets(store))
    return replace(wanted, targets=tuple(name for name in targets if failed_jobs(store, name)))


async def _plan(wanted: Wanted, flake: FlakeOptions, *, read_only: bool) -> list[Work]:
    from pikaci.sourcing import importing_engine, make_plan, take_commit, take_tree

    targets = list(dict.fromkeys(wanted.targets))
    if wanted.plan_file is not None:
        return [Work(each, wanted.jobs) for each in await _of_a_set(wanted, targets, flake)]
    if not wanted.reuse:
        importing_engine()
    if len(targets) == 1:
        planned = await make_plan(targets[0], flake, wanted.source, read_only=read_only)
        return await _filtered(wanted, [planned])
    for target in targets:
        check_id(target, "target")
    if wanted.head is not None:
        taken = await take_commit(flake, wanted.head, read_only=read_only)
    else:
        taken = await take_tree(flake, wanted.source, read_only=read_only)
    if wanted.lanes:
        return await _of_lanes(wanted, taken)
    await taken.lanes()  # Nix's message about an invalid file has neither line nor column
    return await _filtered(wanted, await plan_all(taken, targets or None))


async def _of_lanes(wanted: Wanted, taken: Taken) -> list[Work]:
    """The work of the branch lanes, or of those that a change selects."""
    from pikaci.lane_choice import LaneChoice, choose_lanes
    from pikaci.lanes import Trigger

    base = wanted.base or wanted.changed_since
    report = await choose_lanes(taken, LaneChoice(Trigger.BRANCH, (), base))
    click.echo(report.as_text(), err=True)
    changed = tuple(as_utf8(path) for path in report.changed_files)
    globs: dict[str, tuple[str, ...]] = {}
    for row in report.selections:
        if row.selected:
            globs[row.lane.target] = (*globs.get(row.lane.target, ()), *row.lane.paths)
    if not globs:
        click.echo("pikaci: no lane is selected, so nothing is run", err=True)
        return []
    return [
        Work(planned, filtered=Filtered(changed, globs[planned.plan.target_id] if base else ()))
        for planned in await plan_all(taken, list(globs))
    ]


async def plan_all(taken: Taken, targets: Sequence[str] | None) -> list[Planned]:
    """The plans of targets, or of all; where one has none, why."""
    from pikaci.plan_set import planned_targets

    found = await planned_targets(taken, targets)
    errors = [error for error in found.values() if isinstance(error, PikaciError)]
    for error in errors[1:]:
        click.echo(f"pikaci: {error}", err=True)
    if errors:
        raise errors[0]
    return [planned for planned in found.values() if not isinstance(planned, PikaciError)]


async def _filtered(wanted: Wanted, found: Sequence[Planned]) -> list[Work]:
    """The work of targets, with what path filters say of each, if something says what changed."""
    if wanted.changed_since is None or not found:
        return [Work(planned, wanted.jobs) for planned in found]
    from pikaci.changes import changed_since
    from pikaci.lanes import lanes_of
    from pikaci.selection import target_filter

    tree = found[0].tree
    change = await changed_since(tree.root, wanted.changed_since)
    shown = tuple(as_utf8(path) for path in change.paths)
    lanes = lanes_of(tree)
    works = []
    for planned in found:
        filtered = Filtered(shown)
        if lanes:
            name = planned.plan.target_id
            runs, reason, globs = target_filter(lanes, name, change.paths)
            filtered = Filtered(shown, globs, None if runs else f"skipped by {reason}")
        works.append(Work(planned, wanted.jobs, filtered=filtered))
    return works


async def _of_a_set(wanted: Wanted, targets: Sequence[str], flake: FlakeOptions) -> list[Planned]:
    from pathlib import Path

    from pikaci.location import open_state
    from pikaci.plan_set import load_planned

    state = open_state(flake.state_root, flake.directory)
    state.make()
    names: Sequence[str | None] = targets or [None]
    path = Path(wanted.plan_file or "")
    return [await load_planned(path, target, state) for target in names]
