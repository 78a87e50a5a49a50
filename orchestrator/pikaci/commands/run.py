"""`pikaci run`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import click

from jerichoci.exit_codes import EXIT_PASSED, EXIT_USAGE, exit_code_of_all
from jerichoci.status import KeepPolicy
from pikaci import __version__, options
from pikaci.changes import changed_since
from pikaci.commands.plan import print_plan
from pikaci.completion import complete_job, complete_target
from pikaci.evaluation import with_flake_config
from pikaci.lanes import lanes_of
from pikaci.nearest import no_job
from pikaci.screen import as_utf8
from pikaci.selection import target_filter
from pikaci.sourcing import flake_reference
from pikaci.wanted import Wanted, plan_wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from jerichoci.nix.command import NixOptions
    from jerichoci.record.event import EventBase
    from jerichoci.run.request import RunRequest
    from jerichoci.status import FailureKind, Status
    from pikaci.location import FlakeOptions
    from pikaci.sourcing import Planned

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class RunFlags:
    """The options of a run."""

    output: str
    jobs: tuple[str, ...]
    max_jobs: int | None
    fail_fast: bool
    keep: str
    wait_removal: bool
    run_id: str | None
    changed_since: str | None
    print_logs: bool
    log_format: str = "auto"
    annotations: Mapping[str, str] = field(default_factory=dict)


@click.command("run")
@click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=complete_target)
@click.option("--all", "all_targets", is_flag=True, help="Run all targets of the catalog.")
@click.option("--lanes", is_flag=True, help="Run the targets of all branch lanes.")
@options.run_flags
@click.option(
    "--source",
    metavar="URL",
    help="Run a commit without checking it out: git+https://host/repo?rev=REV.",
)
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    help="Run a plan of a set that `pikaci plan --set` printed, without evaluating again.",
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="ID",
    help="Run only this job and the jobs it needs (repeatable).",
    shell_complete=complete_job,
)
@click.option(
    "--changed-since",
    metavar="REV",
    help="Skip targets unless a file that their lanes' path filters match changed since REV.",
)
@click.option(
    "--base", metavar="REV", help="With --lanes: run the lanes that the change from REV selects."
)
@click.option(
    "--head",
    metavar="REV",
    help="With --base: the change is that of the commit REV, which is run in place of the tree.",
)
@click.option(
    "--failed",
    is_flag=True,
    help="Run only the jobs that failed last, of TARGETs or of the last run or batch.",
)
@options.run_id
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@options.flake_options
def run_command(
    targets: tuple[str, ...],
    flake: FlakeOptions,
    *,
    dry_run: bool,
    **values: Any,  # noqa: ANN401 - collected into Wanted and RunFlags
) -> int | None:
    """Run each TARGET: build what its jobs need, run the jobs, record the result.

    Path filters apply only with --changed-since or --base.

    \b
    pikaci run hello
    pikaci run check --job unit --keep on-failure
    pikaci run --failed                               what failed last, on the tree as it is now
    pikaci run lint unit docs
    pikaci run --lanes --changed-since origin/main    what a push would run

    \b
    Exit codes: 0 passed or skipped, 1 a job failed, 2 usage or catalog error,
    75 infrastructure, 124 timeout, 130 cancelled.
    """
    from pikaci.render.ci.guard import guard_stderr

    guard_stderr(values["log_format"])
    names = [field.name for field in fields(Wanted) if field.name in values]
    wanted = Wanted(targets, **{name: values.pop(name) for name in names})
    flags = RunFlags(**values)
    wanted.check(flags.changed_since, flags.jobs, has_system=bool(flake.system))
    if wanted.is_nothing():
        return _list_targets(flake)
    return asyncio.run(_run(wanted, flake, flags, dry_run=dry_run))


def _list_targets(flake: FlakeOptions) -> int:
    from pikaci.commands.catalog import print_targets

    print_targets(flake)
    click.echo("pikaci: name the targets to run, or give --all or --lanes", err=True)
    return EXIT_USAGE


async def _run(wanted: Wanted, flake: FlakeOptions, flags: RunFlags, *, dry_run: bool) -> int:
    works = await plan_wanted(wanted, flake, flags.changed_since, read_only=dry_run)
    if wanted.failed and not works:
        click.echo("pikaci: nothing to run: no job failed last", err=True)
    if not dry_run:
        return await run_planned(works, flake.nix, flags, is_batch=wanted.is_several())
    for planned in works:
        jobs = _checked_jobs(planned, planned.jobs or flags.jobs)
        _, _, skip = await _filtered(planned, flags.changed_since)
        if skip:
            click.echo(f"pikaci: target {planned.plan.target_id} would be {skip}", err=True)
        print_plan(planned.plan, jobs, as_json=flags.output != "human")
    return 0


async def run_planned(
    works: Sequence[Planned],
    nix: NixOptions,
    flags: RunFlags,
    reruns: Sequence[str | None] = (),
    *,
    is_batch: bool = False,
) -> int:
    """Run plans, of one state root, with reporters on them; the exit code.

    `reruns` has the ids of the runs that they repeat.
    """
    from jerichoci.cleanup.dead_runs import closing_dead_runs
    from jerichoci.run.engine import run_plans
    from jerichoci.state.ids import new_run_id
    from pikaci.render.reporters import reporting

    if not works:
        return EXIT_PASSED
    state = works[0].state
    batch = flags.run_id or new_run_id() if is_batch or len(works) > 1 else None
    requests = [
        await _request(planned, nix, flags, batch, rerun_of)
        for planned, rerun_of in zip(works, reruns or [None] * len(works), strict=True)
    ]
    end = _End(len(requests))
    shown = {"output": flags.output, "log_format": flags.log_format}
    with (
        end.handling_signals(),
        reporting(state, batch, **shown, print_logs=flags.print_logs) as reporters,
        closing_dead_runs(state),
    ):
        records = await run_plans(state, requests, [*reporters.sinks, end], reporters.stopping)
    return exit_code_of_all((record.status, record.failure_kind) for record in records)


async def _request(
    planned: Planned, nix: NixOptions, flags: RunFlags, batch: str | None, rerun_of: str | None
) -> RunRequest:
    from jerichoci.record.record import Tool
    from jerichoci.run.request import RunRequest

    source, state = planned.source, planned.state
    reference = flake_reference(state, source.tree, source.tree, source.flake_dir or "")
    changed, filters, skip = await _filtered(planned, flags.changed_since)
    return RunRequest(
        plan=planned.plan,
        source=planned.source,
        tool=Tool(version=__version__, nix_version=planned.nix_version),
        run_id=None if batch else flags.run_id,
        batch=batch,
        jobs=_checked_jobs(planned, planned.jobs or flags.jobs),
        max_jobs=flags.max_jobs,
        fail_fast=flags.fail_fast,
        keep=KeepPolicy(flags.keep),
        wait_removal=flags.wait_removal,
        rerun_of=rerun_of,
        changed_files=changed,
        filters=filters,
        skip_reason=skip,
        annotations=flags.annotations,
        nix=await with_flake_config(state.root, reference, nix),
    )


class _End:
    """Hears of the runs' ends, and has a signal that comes after the last exit with their code."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._ends: list[tuple[Status, FailureKind | None]] = []
        self._before = {number: signal.getsignal(number) for number in INTERRUPTS}
        self._code: int | None = None

    def emit(self, event: EventBase) -> None:
        """Take note of an event."""
        from jerichoci.record.event import RunFinished

        if isinstance(event, RunFinished):
            self._ends.append((event.run.status, event.run.failure_kind))
            if len(self._ends) == self._runs:
                self._code = exit_code_of_all(self._ends)

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle signals from now on: after the run's end until the process ends."""
        for number, handler in self._before.items():
            if callable(handler):  # not where `nohup` has it ignored
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            if self._code is None:
                for number, handler in self._before.items():
                    signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._code is not None:
            sys.exit(self._code)
        handler = self._before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)


def _checked_jobs(planned: Planned, jobs: tuple[str, ...]) -> frozenset[str] | None:
    known = [node.job_id for node in planned.plan.jobs]
    for job in jobs:
        if job not in known:
            raise no_job(f"target {planned.plan.target_id}", job, known)
    return frozenset(jobs) if jobs else None


async def _filtered(
    planned: Planned, rev: str | None
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    if rev is None:
        return (), (), None
    change = await changed_since(planned.tree.root, rev)
    shown = tuple(as_utf8(path) for path in change.paths)
    if not (lanes := lanes_of(planned.tree)):
        return shown, (), None
    runs, reason, globs = target_filter(lanes, planned.plan.target_id, change.paths)
    return shown, globs, None if runs else f"skipped by {reason}"
