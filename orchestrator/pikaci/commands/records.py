"""What a state root has of runs: `pikaci list`, `status`, `prepared-outputs` and `cancel`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import RecordError, UsageError
from jerichoci.state.ids import prepare_name
from jerichoci.state.natural import natural
from pikaci import options
from pikaci.completion import complete_run
from pikaci.screen import one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.record.record import PreparedOutput
    from jerichoci.record.store import Found, RunStore
    from jerichoci.record.summary import JobSummary, RunSummary
    from jerichoci.state.layout import RunLayout

ARTIFACTS_SHOWN = 10
STEP = 1024
"""Bytes in a KiB, and so on."""


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@options.json_output
@options.records
def list_command(store: RunStore, limit: int, *, as_json: bool) -> None:
    """List the newest runs. A run whose record can't be read is marked so."""
    from pikaci.render.words import between

    runs = store.list_runs(limit)
    if as_json:
        options.print_json([run.as_dict() for run in runs])
        return
    if not runs:
        click.echo("no runs yet; start one with `pikaci run TARGET`", err=True)
        return
    has_batches = any(run.batch for run in runs)
    rows = [
        (
            run.run_id,
            *([run.batch or ""] if has_batches else []),
            run.target_id or "?",
            "unreadable" if run.unreadable else f"{run.status or '?'}{', partial' * run.partial}",
            run.failure_kind or "",
            between(run.created_at, run.finished_at),
            run.unreadable or run.message or "",
        )
        for run in runs
    ]
    of_batch = ["BATCH"] if has_batches else []
    click.echo(table(("RUN", *of_batch, "TARGET", "STATUS", "KIND", "TOOK", "MESSAGE"), rows))


@click.command("status")
@options.json_output
@options.found_records
def status_command(store: RunStore, found: Found, *, as_json: bool) -> None:
    """Show RUN and its jobs, or the runs of a batch.

    RUN is the id of a run or of a batch, a unique prefix of one, or `latest`, the default.
    """
    if found.batch is not None:
        _show_batch(store, found.batch, found.runs, as_json=as_json)
        return
    (run,) = found.runs
    if as_json:
        options.print_json(store.record_values(run))
        return
    summary = store.summary(run)
    if summary.unreadable:
        raise RecordError(
            f"run {run} can't be read: {summary.unreadable}",
            f"its files are in {store.run(run).root}; `pikaci gc` removes it in its time",
        )
    click.echo(_status_text(store, summary))


def _show_batch(store: RunStore, batch: str, runs: Sequence[str], *, as_json: bool) -> None:
    from pikaci.batch import batch_text, recorded_values

    if as_json:
        options.print_json(recorded_values(store, batch, runs))
    else:
        click.echo(batch_text(store, batch, runs))


def _status_text(store: RunStore, run: RunSummary) -> str:
    """A run for people: how it stands, why, its jobs, where everything is."""
    from pikaci.render.words import between, elapsed_ms, estimate

    kind = f" ({run.failure_kind})" if run.failure_kind else ""
    took = between(run.created_at, run.finished_at)
    dirty = " and changes" if run.git_dirty else ""
    nowhere = "not in git" if run.git_dirty is None else "no commit yet"
    commit = f"{run.git_head[:12]}{dirty}" if run.git_head else nowhere
    partial = ", partial: some jobs were not asked for" if run.partial else ""
    lines = [f"run      {run.run_id}", f"target   {run.target_id}"]
    lines += [f"status   {run.status}{kind}{partial}"]
    lines += [f"why      {run.message}"] if run.message else []
    lines += [f"hint     {run.hint}"] if run.hint else []
    lines += [f"note     {note}" for note in run.notes]
    lines += [f"rerun of {run.rerun_of}"] if run.rerun_of else []
    lines += [f"batch    {run.batch}"] if run.batch else []
    times = [f"started  {run.created_at}", *([f"took {took}"] if took else [])]
    if run.estimated_ms is not None:
        times += [estimate(run.estimated_ms, elapsed_ms(run.created_at, run.finished_at))]
    lines += [", ".join(times)]
    lines += [f"source   {commit}, snapshot {(run.snapshot_id or '?')[:12]}"]
    lines += [f"record   {store.run(run.run_id).root}", ""]
    rows: list[tuple[str, ...]] = [
        (
            job.id,
            "waiting" if job.status == "running" and not job.attempt else job.status,
            job.failure_kind or "",
            between(job.started_at, job.finished_at),
            str(job.attempt),
            str(len(job.artifacts)),
            job.message or "",
        )
        for job in run.jobs
    ]
    head: tuple[str, ...] = ("JOB", "STATUS", "KIND", "TOOK", "ATTEMPTS", "ARTIFACTS", "MESSAGE")
    if any(job.host not in {None, os.uname().nodename} for job in run.jobs):
        head = (head[0], "HOST", *head[1:])
        hosts = [job.host or "" for job in run.jobs]
        rows = [(row[0], host, *row[1:]) for row, host in zip(rows, hosts, strict=True)]
    tests = [f"tests of {job.id}: {job.tests}" for job in run.jobs if job.tests]
    rest = [*_passed_over(run.jobs), *([""] if tests else []), *tests]
    rest += _artifacts(store.run(run.run_id), run.jobs)
    return "\n".join([*map(one_line, lines), table(head, rows), *map(one_line, rest)])


def _passed_over(jobs: Sequence[JobSummary]) -> list[str]:
    rows = [
        f"passed over for {job.id}: {host}: {reason}"
        for job in jobs
        for host, reason in dict.fromkeys(job.passed_over)
    ]
    return ["", *rows] if rows else []


def _artifacts(layout: RunLayout, jobs: Sequence[JobSummary]) -> list[str]:
    paths = [
        layout.attempt(job.id, job.attempt) / "artifacts" / "files" / name
        for job in jobs
        for name in sorted(job.artifacts, key=natural)
    ]
    lines = ["", *(f"artifact {path}" for path in paths[:ARTIFACTS_SHOWN])] if paths else []
    more = len(paths) - ARTIFACTS_SHOWN
    return [*lines, f"... and {more} more; --json lists them"] if more > 0 else lines


@click.command("prepared-outputs")
@options.json_output
@options.run_records
def prepared_outputs_command(store: RunStore, run: str, *, as_json: bool) -> None:
    """Show what RUN built for its jobs, on which hosts, and where."""
    record = store.load_prepared_outputs(run)
    if as_json:
        click.echo(record.model_dump_json(indent=2))
        return
    rows = [cells for row in record.outputs for cells in _output_rows(row)]
    head: tuple[str, ...] = ("PREPARE", "HOST", "OUTCOME", "HOW", "MOVED", "COPIED", "PATH")
    if not any(row.copies for row in record.outputs):
        head, *rows = ((*row[:-2], row[-1]) for row in (head, *rows))
    click.echo(table(head, rows))


def _output_rows(output: PreparedOutput) -> list[tuple[str, ...]]:
    """One line for each host that needed it; at least one."""
    from jerichoci.record.record import PreparedPlace

    own: Any = {"outcome": output.outcome, "path": output.path, "cause": output.cause}
    places = output.places or [PreparedPlace(host="", **own)]
    return [
        (
            prepare_name(output.node_id, output.prepare_id) if number == 0 else "",
            place.host or "-",
            str(place.outcome),
            place.how or "-",
            _size(place.bytes_moved),
            "" if number else ", ".join(str(copy.outcome) for copy in output.copies),
            place.path or (place.cause.message if place.cause else "-"),
        )
        for number, place in enumerate(places)
    ]


def _size(count: int) -> str:
    """A number of bytes for people."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < STEP:
            break
        size, unit = size / STEP, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B" if count else "-"


@click.command("cancel")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_run)
@options.records
def cancel_command(store: RunStore, run: str | None) -> None:
    """Cancel RUN, or the runs of a batch: jobs get TERM, 10 s later KILL.

    The run ends as `cancelled`. Without RUN, this is what is running, if it is one run or batch.
    """
    from jerichoci.record.cancel import cancel_runs

    for run_id in cancel_runs(store, _running(store) if run is None else store.resolve_many(run)):
        shows = f"`pikaci status {run_id}` shows when it has ended"
        click.echo(f"cancelling run {run_id}; {shows}", err=True)


def _running(store: RunStore) -> list[str]:
    """The runs that are running, of one command."""
    running = [run_id for run_id in store.run_ids() if store.is_running(run_id)]
    commands = dict.fromkeys(store.summary(run_id).batch or run_id for run_id in running)
    if not commands:
        raise UsageError("no run is running", "there is nothing to cancel")
    if len(commands) > 1:
        names = ", ".join(map(str, commands))
        raise UsageError(f"{len(commands)} commands are running: {names}", "name a run of them")
    return running
