"""`pikaci run`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jerichoci.exit_codes import exit_code
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
from pikaci.sourcing import Planned, flake_reference, make_plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import FrameType

    from jerichoci.nix.command import NixOptions
    from jerichoci.record.event import EventBase
    from jerichoci.state.layout import StateLayout
    from pikaci.location import FlakeOptions
    from pikaci.render.feed import Feed, Out, View

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
    annotations: Mapping[str, str] = field(default_factory=dict)


@click.command("run")
@click.argument("target", metavar="TARGET", required=False, shell_complete=complete_target)
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
    help="Skip the target unless a file that its lanes' path filters match changed since REV.",
)
@options.run_id
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@options.flake_options
def run_command(
    target: str | None,
    flake: FlakeOptions,
    source: str | None,
    plan_file: str | None,
    *,
    dry_run: bool,
    **flags: Any,  # noqa: ANN401 - collected into RunFlags
) -> int:
    """Run TARGET: build what its jobs need, run the jobs, record the result.

    Path filters apply only with --changed-since.

    \b
    pikaci run hello
    pikaci run check --job unit --keep on-failure
    pikaci run check --output jsonl --changed-since origin/main

    \b
    Exit codes: 0 passed or skipped, 1 a job failed, 2 usage or catalog error,
    75 infrastructure, 124 timeout, 130 cancelled.
    """
    if plan_file is not None and (source or flake.system or flags["changed_since"]):
        raise click.UsageError("--plan has its source, system and changes: give no others")
    if source is not None and flags["changed_since"]:
        raise click.UsageError("--changed-since is about a working tree: --source has none")
    if target is None and plan_file is None:
        raise click.UsageError("missing argument 'TARGET'")
    work = _plan(target, flake, source, plan_file, read_only=dry_run)
    return asyncio.run(_run(work, flake, RunFlags(**flags), dry_run=dry_run))


async def _plan(
    target: str | None,
    flake: FlakeOptions,
    source: str | None,
    plan_file: str | None,
    *,
    read_only: bool,
) -> Planned:
    if plan_file is None:
        return await make_plan(target or "", flake, source, read_only=read_only)
    from pathlib import Path

    from pikaci.location import open_state
    from pikaci.plan_set import load_planned

    state = open_state(flake.state_root, flake.directory)
    state.make()
    return await load_planned(Path(plan_file), target, state)


async def _run(
    work: Awaitable[Planned], flake: FlakeOptions, flags: RunFlags, *, dry_run: bool
) -> int:
    planned = await work
    if not dry_run:
        return await run_planned(planned, flake.nix, flags)
    jobs = _checked_jobs(planned, flags.jobs)
    _, _, skip = await _filtered(planned, flags.changed_since)
    if skip:
        click.echo(f"pikaci: target {planned.plan.target_id} would be {skip}", err=True)
    print_plan(planned.plan, jobs, as_json=flags.output != "human")
    return 0


async def run_planned(
    planned: Planned,
    nix: NixOptions,
    flags: RunFlags,
    rerun_of: str | None = None,
) -> int:
    """Run a plan with a reporter on it; the exit code."""
    from jerichoci.cleanup.dead_runs import closing_dead_runs
    from jerichoci.record.record import Tool
    from jerichoci.run.engine import run_plan
    from jerichoci.run.request import RunRequest

    source, state = planned.source, planned.state
    reference = flake_reference(state, source.tree, source.tree, source.flake_dir or "")
    changed, filters, skip = await _filtered(planned, flags.changed_since)
    request = RunRequest(
        plan=planned.plan,
        source=planned.source,
        tool=Tool(version=__version__, nix_version=planned.nix_version),
        run_id=flags.run_id,
        jobs=_checked_jobs(planned, flags.jobs),
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
    end = _End()
    with (
        end.handling_signals(),
        _feeds(flags.output, state, print_logs=flags.print_logs) as feeds,
        closing_dead_runs(state),
    ):
        record = await run_plan(state, request, [*feeds, end], feeds[-1].stopping)
    return exit_code(record.status, record.failure_kind)


@contextmanager
def _feeds(output: str, state: StateLayout, *, print_logs: bool) -> Iterator[list[Feed]]:
    """What shows a run with an `--output`, the last one to people. At the end, all is written."""
    from pikaci.render.feed import Feed, FinalRecord, JsonLines, Out

    views = [(sys.stderr, "stderr", _people(state, print_logs=print_logs))]
    if output != "human":
        views.insert(0, (sys.stdout, "stdout", JsonLines if output == "jsonl" else FinalRecord))
    with ExitStack() as held:
        yield [
            held.enter_context(closing(Feed(Out(stream, name), view)))
            for stream, name, view in views
        ]


def _people(state: StateLayout, *, print_logs: bool) -> Callable[[Out], View]:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not print_logs:
        from pikaci.render.terminal import terminal

        return partial(terminal, state)
    from pikaci.render.plain import Plain

    return partial(Plain, state, print_logs=print_logs)


class _End:
    """Hears of the run's end, and has a signal that comes after it exit with the run's code."""

    def __init__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in INTERRUPTS}
        self._code: int | None = None

    def emit(self, event: EventBase) -> None:
        """Take note of an event."""
        from jerichoci.record.event import RunFinished

        if isinstance(event, RunFinished):
            self._code = exit_code(event.run.status, event.run.failure_kind)

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
