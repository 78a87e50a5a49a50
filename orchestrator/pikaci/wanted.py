"""What `pikaci run` is asked to run: targets by name, all, those of lanes, or a plan of a set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from pikaci.lanes import Trigger

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
    base: str | None = None
    head: str | None = None
    source: str | None = None
    plan_file: str | None = None
    failed: bool = False

    def is_nothing(self) -> bool:
        """Whether no target is asked for, in whatever way."""
        named = self.targets or self.all_targets or self.lanes or self.plan_file
        return not (named or self.failed)

    def is_several(self) -> bool:
        """Whether it is asked for in a way that may be several, however many it is."""
        return len(set(self.targets)) > 1 or self.all_targets or self.lanes

    def check(self, changed_since: str | None, jobs: Sequence[str], *, has_system: bool) -> None:
        """Refuse what can't be meant together."""
        by = [bool(self.targets), self.all_targets, self.lanes]
        changes = (changed_since, self.base, self.head)
        if sum(by) > 1:
            raise click.UsageError("give targets, --all or --lanes: one of them")
        if self.plan_file is not None and (self.source or has_system or any(changes)):
            raise click.UsageError("--plan has its source, system and changes: give no others")
        if self.source is not None and (changed_since or self.head):
            raise click.UsageError(
                "--changed-since and --head are about this working tree's"
                " repository: --source has another"
            )
        if self.base and not self.lanes:
            raise click.UsageError("--base is for --lanes; for targets there is --changed-since")
        if self.base and changed_since:
            raise click.UsageError("--base and --changed-since say the same: give one")
        if self.head and not self.base:
            raise click.UsageError("--head is for --base, or give --source git+URL?rev=REV")
        if jobs and self.is_several():
            raise click.UsageError("--job is for one target")
        if jobs and self.failed:
            raise click.UsageError("give --job or --failed: one of them")
        if self.failed and (self.plan_file or self.source or self.head):
            raise click.UsageError(
                "--failed runs on the working tree: give no --plan, --source, --head"
            )


async def plan_wanted(
    wanted: Wanted, flake: FlakeOptions, changed_since: str | None, *, read_only: bool
) -> list[Planned]:
    """Plan what is wanted, in one evaluation; nothing if no lane is selected or nothing failed.

    Raises:
        PikaciError: one of the targets has no plan.
    """
    if not wanted.failed:
        return await _plan(wanted, flake, changed_since, read_only=read_only)
    from jerichoci.record.store import RunStore
    from pikaci.failed import with_failed_jobs

    if not (wanted.all_targets or wanted.lanes):
        wanted = _what_failed(wanted, flake)
        if not wanted.targets:
            return []
    works = await _plan(wanted, flake, changed_since, read_only=read_only)
    return with_failed_jobs(RunStore(works[0].state.root), works) if works else []


def _what_failed(wanted: Wanted, flake: FlakeOptions) -> Wanted:
    """The targets of which jobs failed."""
    from pikaci.failed import failed_jobs, last_targets
    from pikaci.location import open_store

    store = open_store(flake.state_root, flake.directory)
    targets = dict.fromkeys(wanted.targets or last_targets(store))
    return replace(wanted, targets=tuple(name for name in targets if failed_jobs(store, name)))


async def _plan(
    wanted: Wanted, flake: FlakeOptions, changed_since: str | None, *, read_only: bool
) -> list[Planned]:
    from pikaci.sourcing import make_plan, take_commit, take_tree

    targets = list(dict.fromkeys(wanted.targets))
    if wanted.plan_file is not None:
        return await _of_a_set(wanted.plan_file, targets, flake)
    if len(targets) == 1:
        return [await make_plan(targets[0], flake, wanted.source, read_only=read_only)]
    if wanted.head is not None:
        taken = await take_commit(flake, wanted.head, read_only=read_only)
    else:
        taken = await take_tree(flake, wanted.source, read_only=read_only)
    if wanted.lanes:
        targets = await _of_lanes(taken, wanted.base or changed_since)
    elif wanted.all_targets:
        catalog = await taken.evaluator.catalog()
        targets = [target["id"] for target in catalog.values["targets"]]
    await taken.lanes()  # Nix's message about an invalid file has neither line nor column
    return await _plan_all(taken, targets)


async def _of_lanes(taken: Taken, base: str | None) -> list[str]:
    from pikaci.lane_choice import LaneChoice, choose_lanes

    report = await choose_lanes(taken, LaneChoice(Trigger.BRANCH, (), base))
    click.echo(report.as_text(), err=True)
    return list(dict.fromkeys(row.lane.target for row in report.selections if row.selected))


async def _plan_all(taken: Taken, targets: Sequence[str]) -> list[Planned]:
    from jerichoci.errors import PikaciError
    from jerichoci.state.ids import check_id
    from pikaci.plan_set import planned_targets

    for target in targets:
        check_id(target, "target")
    found = await planned_targets(taken, targets)
    for error in found.values():
        if isinstance(error, PikaciError):
            raise error
    return [planned for planned in found.values() if not isinstance(planned, PikaciError)]


async def _of_a_set(name: str, targets: Sequence[str], flake: FlakeOptions) -> list[Planned]:
    from pathlib import Path

    from pikaci.location import open_state
    from pikaci.plan_set import load_planned

    state = open_state(flake.state_root, flake.directory)
    state.make()
    names: Sequence[str | None] = targets or [None]
    return [await load_planned(Path(name), target, state) for target in names]
