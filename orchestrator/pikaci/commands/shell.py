"""`pikaci shell`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.record.store import LATEST
from jerichoci.state.layout import RunLayout
from pikaci import options
from pikaci.completion import complete_job, complete_run_or_job
from pikaci.nearest import no_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.record.record import AttemptRecord, PreparedOutput, RunRecord
    from jerichoci.record.store import RunStore


class _ShellCommand(click.Command):
    """Reads `[RUN] JOB [WORD...] [-- COMMAND...]`; RUN is left out where one word is JOB."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line: what follows `--` is the command's."""
        dashes = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:dashes])
        if ctx.params.get("job") is None and not ctx.resilient_parsing:
            if ctx.params.get("run") is None:
                raise click.UsageError("missing argument 'JOB'", ctx)
            ctx.params["run"], ctx.params["job"] = LATEST, ctx.params["run"]
        ctx.params["words"] = (*ctx.params.get("words", ()), *args[dashes + 1 :])
        return rest


@click.command("shell", cls=_ShellCommand)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_run_or_job)
@click.argument("job", metavar="JOB", required=False, shell_complete=complete_job)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@options.records
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use the Nth attempt of the job.  [default: the last]",
)
def shell_command(
    store: RunStore, run: str, job: str, words: tuple[str, ...], attempt: int | None
) -> int:
    """Open a shell in the kept workspace or guest of JOB in RUN, with the job's environment.

    RUN is the latest run by default. A run keeps them with `--keep on-failure` or `--keep always`.
    COMMAND runs instead of a shell. The exit code is that of the shell or the command.
    """
    return asyncio.run(_shell(store, _run_of(store, run, job), job, attempt, words))


def _run_of(store: RunStore, name: str, job: str) -> str:
    """The run that `name` stands for; of a batch, the one that has the job."""
    having = [run_id for run_id in store.resolve_many(name) if job in store.job_ids(run_id)]
    return having[0] if len(having) == 1 else store.resolve(name)


async def _shell(
    store: RunStore, run_id: str, job_id: str, number: int | None, command: Sequence[str]
) -> int:
    from jerichoci.cleanup.dead_runs import close_if_dead
    from jerichoci.nix.command import NixOptions
    from jerichoci.remote.pool import SessionPool
    from jerichoci.run.placements import Placements
    from jerichoci.run.runtimes import check_runtime, open_shell
    from jerichoci.runtime import Attempt

    close_if_dead(store.run(run_id))
    record = store.load_run_record(run_id)
    plan = store.load_plan(run_id)
    node = next((node for node in plan.jobs if node.job_id == job_id), None)
    if node is None:
        raise no_job(f"run {run_id}", job_id, [row.id for row in record.jobs])
    check_runtime(node)
    tried = _attempt(record, job_id, number)
    layout = store.run(run_id)
    outputs = store.load_prepared_outputs(run_id).outputs
    async with SessionPool() as pool:
        placements = Placements(store.layout, NixOptions(), plan.hosts, pool)
        placement = placements.named(node.placement, tried.host)
        async with placement.visiting(run_id):
            there = RunLayout(placement.run_directory(run_id))
            attempt = Attempt(
                survey=None,
                may_be_kept=True,
                state=store.layout,
                run_id=run_id,
                node=node,
                images={image.role: image for image in plan.images},
                number=tried.number,
                inputs=_inputs(outputs, placement.host),
                snapshot=await placement.snapshot(record.snapshot_id or ""),
                scratch=there.scratch / f"{job_id}-{tried.number}",
                directory=layout.attempt(job_id, tried.number),
            )
            return await open_shell(placement, attempt, tried.execution, command)


def _inputs(outputs: Sequence[PreparedOutput], host: str) -> dict[str, Path]:
    """Where prepared outputs are on a host, by node id."""
    known = {row.node_id: Path(row.path) for row in outputs if row.path}
    there = {
        row.node_id: Path(place.path)
        for row in outputs
        for place in row.places
        if place.path and place.host == host
    }
    return known | there


def _attempt(record: RunRecord, job_id: str, number: int | None) -> AttemptRecord:
    """The attempt of that number, or the last."""
    tries = [row for job in record.jobs if job.id == job_id for row in job.attempts]
    if not tries:
        raise UsageError(
            f"job {job_id} of run {record.run_id} was not started",
            f"`pikaci status {record.run_id}` shows why",
        )
    found = [row for row in tries if row.number == (number or tries[-1].number)]
    if not found:
        numbers = ", ".join(str(row.number) for row in tries)
        raise UsageError(f"job {job_id} had no attempt {number}", f"there are {numbers}")
    return found[0]
