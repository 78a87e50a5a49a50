"""`pikaci run`."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import click

from pikaci.event_loop import asyncio  # before what imports asyncio itself

# isort: split
from jerichoci.exit_codes import EXIT_PASSED, EXIT_USAGE, exit_code_of_all
from jerichoci.state.dataclass import dataclass
from jerichoci.state.trace import span, started
from jerichoci.status import CacheUse, KeepPolicy
from pikaci import __version__, options
from pikaci.completion import complete_job, complete_target
from pikaci.flake_config import with_flake_config
from pikaci.screen import one_line
from pikaci.sourcing import flake_reference
from pikaci.wanted import Wanted, plan_wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import FrameType

    from jerichoci.nix.command import NixOptions
    from jerichoci.record.event import EventBase
    from jerichoci.record.record import RunRecord
    from jerichoci.run.request import RunRequest
    from jerichoci.state.layout import StateLayout
    from jerichoci.status import FailureKind, Status
    from pikaci.location import FlakeOptions
    from pikaci.work import Work

REUSE_HOURS = 7 * 24
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class RunFlags:
    """The options of a run."""

    output: str
    max_jobs: int | None
    fail_fast: bool
    keep: str
    wait_removal: bool
    run_id: str | None
    print_logs: bool
    log_format: str = "auto"
    junit: Path | None = None
    reuse_hours: int | None = None
    copy_to: str | None = None
    cache: str = "write"
    store: str | None = None
    branch: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@click.command("run")
@click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=complete_target)
@click.option(
    "--all",
    "all_targets",
    is_flag=True,
    envvar="PIKACI_RUN_ALL",
    help="Run all targets of the catalog.",
)
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
    callback=options.commit_before,
    help="Skip targets unless a file that their lanes' path filters match changed since REV.",
)
@click.option(
    "--base",
    metavar="REV",
    callback=options.commit_before,
    help="With --lanes: run the lanes that the change from REV selects.",
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
@click.option(
    "--watch", is_flag=True, help="Run, and again what a change of the working tree selects."
)
@click.option(
    "--reuse",
    is_flag=True,
    help="Take the verdict of an earlier run that passed, of the same plan, files and images.",
)
@click.option(
    "--reuse-hours",
    type=click.IntRange(min=1),
    metavar="N",
    default=REUSE_HOURS,
    show_default=True,
    help="With --reuse: not of one that ended more than N hours ago.",
)
@options.run_id
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@options.flake_options
def run_command(
    targets: tuple[str, ...],
    flake: FlakeOptions,
    *,
    dry_run: bool,
    reuse: bool,
    reuse_hours: int,
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
    75 infrastructure, 124 timeout, 130 cancelled. Of several targets, the
    first of 1, 124, 75 and 130 that one of them has.
    """
    from pikaci.render.ci.guard import guard_stderr

    started()
    guard_stderr(values["log_format"])
    names = [field.name for field in fields(Wanted) if field.name in values]
    values["reuse_hours"] = reuse_hours if reuse else None
    wanted = Wanted(targets, reuse=reuse, **{name: values.pop(name) for name in names})
    wanted.check(flake.system)
    if wanted.is_nothing():
        return _list_targets(flake)
    flags = RunFlags(**values)
    if wanted.watch:
        if flags.run_id or dry_run:
            raise click.UsageError("--watch makes many runs: give no --run-id or --dry-run")
        return asyncio.run(_watch(wanted, flake, flags))
    return asyncio.run(_run(wanted, flake, flags, dry_run=dry_run))


async def _watch(wanted: Wanted, flake: FlakeOptions, flags: RunFlags) -> int:
    from pikaci.watch.loop import watch

    async def run(works: Sequence[Work], end: End) -> Sequence[RunRecord]:
        return await _run_works(works, flake.nix, flags, end, is_batch=False)

    return await watch(wanted, flake, run)


def _list_targets(flake: FlakeOptions) -> int:
    from pikaci.commands.catalog import print_targets

    print_targets(flake, err=True)
    click.echo("pikaci: name the targets to run, or give --all or --lanes", err=True)
    return EXIT_USAGE


async def _run(wanted: Wanted, flake: FlakeOptions, flags: RunFlags, *, dry_run: bool) -> int:
    works = await plan_wanted(wanted, flake, read_only=dry_run)
    if wanted.failed and not works:
        click.echo("pikaci: nothing to run: no job failed last", err=True)
    if not dry_run:
        return await run_planned(works, flake.nix, flags, is_batch=wanted.is_several())
    for work in works:
        if skip := work.filtered.skip_reason:
            name = work.planned.plan.target_id
            click.echo(f"pikaci: target {name} would be {skip}", err=True)
    from pikaci.commands.plan import print_plan

    jobs = [work.checked_jobs() for work in works]
    plans = [work.planned.plan for work in works]
    if flags.output != "human" and wanted.is_several():
        options.print_json([plan.dump() for plan in plans])
        return EXIT_PASSED
    for number, (plan, asked) in enumerate(zip(plans, jobs, strict=True)):
        if number:
            click.echo()
        print_plan(plan, asked, as_json=flags.output != "human")
    return EXIT_PASSED


async def run_planned(
    works: Sequence[Work], nix: NixOptions, flags: RunFlags, *, is_batch: bool = False
) -> int:
    """Run plans, of one state root, with reporters on them; the exit code."""
    if not works:
        return _run_nothing(flags)
    records = await _run_works(works, nix, flags, _End(len(works)), is_batch=is_batch)
    return exit_code_of_all((record.status, record.failure_kind) for record in records)


async def _run_works(
    works: Sequence[Work], nix: NixOptions, flags: RunFlags, end: End, *, is_batch: bool
) -> Sequence[RunRecord]:
    with span("import reporters"):
        from jerichoci.cleanup.dead_runs import closing_dead_runs
        from jerichoci.record.store import RunStore
        from jerichoci.run.reuse import record_reused
        from jerichoci.state.ids import new_run_id
        from pikaci.estimate import with_estimates
        from pikaci.render.reporters import Asked, reporting

    state = works[0].planned.state
    batch = flags.run_id or new_run_id() if is_batch or len(works) > 1 else None
    requests = await _requests(works, replace(nix, store=flags.store), flags, batch)
    if flags.reuse_hours is not None:
        requests = [_reusing(state, request, flags.reuse_hours) for request in requests]
    with span("estimate"):
        requests = with_estimates(RunStore(state.root), requests)
    asked = Asked(flags.output, flags.log_format, flags.junit, flags.print_logs)
    with (
        end.handling_signals(),
        reporting(state, batch, asked) as reporters,
        closing_dead_runs(state),
    ):
        sinks = [*reporters.sinks, end]
        if all(request.reuses for request in requests) and not batch:
            records = [record_reused(state, request, sinks) for request in requests]
        else:
            from jerichoci.run.engine import run_plans

            records = await run_plans(state, requests, sinks, reporters.stopping)
    for note in dict.fromkeys(note for record in records for note in record.notes):
        click.echo(f"pikaci: {one_line(note)}", err=True)
    return records


def _reusing(state: StateLayout, request: RunRequest, hours: int) -> RunRequest:
    """A request that takes the verdict of an earlier run, if there is one to take."""
    from jerichoci.run.reuse import find_earlier

    if request.skip_reason:
        return request
    earlier = find_earlier(state, request, hours)
    if earlier.why_not:
        name = request.plan.target_id
        click.echo(f"pikaci: no earlier verdict is taken for {name}: {earlier.why_not}", err=True)
    return replace(request, reuses=earlier.run_id)


def _run_nothing(flags: RunFlags) -> int:
    if flags.output == "json":
        from pikaci.batch import batch_values

        options.print_json(batch_values(None, []))
    if flags.junit is not None:
        from pikaci.render.junit import write_junit

        write_junit(flags.junit, [])
    return EXIT_PASSED


async def _requests(
    works: Sequence[Work], nix: NixOptions, flags: RunFlags, batch: str | None
) -> list[RunRequest]:
    from jerichoci.record.record import Tool
    from jerichoci.run.request import RunRequest

    settings: dict[str, NixOptions] = {}
    requests = []
    for work in works:
        planned, filtered = work.planned, work.filtered
        source, state = planned.source, planned.state
        reference = flake_reference(state, source.tree, source.tree, source.flake_dir or "")
        if reference not in settings:
            settings[reference] = await with_flake_config(state.root, reference, nix)
        request = RunRequest(
            plan=planned.plan,
            source=source,
            tool=Tool(version=__version__, nix_version=planned.nix_version),
            run_id=None if batch else flags.run_id,
            batch=batch,
            jobs=work.checked_jobs(),
            max_jobs=flags.max_jobs,
            fail_fast=flags.fail_fast,
            branch=flags.branch,
            keep=KeepPolicy(flags.keep),
            wait_removal=flags.wait_removal,
            rerun_of=work.rerun_of,
            changed_files=filtered.changed_files,
            filters=filtered.globs,
            skip_reason=filtered.skip_reason,
            copy_to=flags.copy_to,
            cache_use=CacheUse(flags.cache),
            annotations=flags.annotations,
            nix=settings[reference],
        )
        requests.append(request)
    return requests


class End(Protocol):
    """Hears of the runs' ends, and says what signals do until then."""

    def emit(self, event: EventBase) -> None:
        """Take note of an event."""

    def handling_signals(self) -> AbstractContextManager[None]:
        """Handle signals from now on."""


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
