"""`pikaci status`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from jerichoci.errors import RecordError
from pikaci import options
from pikaci.screen import one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.record.store import RunStore
    from jerichoci.record.summary import JobSummary, RunSummary
    from jerichoci.state.layout import RunLayout

ARTIFACTS_SHOWN = 10


@click.command("status")
@options.json_output
@options.run_records
def command(store: RunStore, run: str, *, as_json: bool) -> None:
    """Show RUN and its jobs. RUN is an id, a unique prefix of one, or `latest`."""
    if as_json:
        options.print_json(store.record_values(run))
        return
    summary = store.summary(run)
    if summary.unreadable:
        raise RecordError(
            f"run {run} can't be read: {summary.unreadable}",
            f"its files are in {store.run(run).root}; `pikaci gc` removes it in its time",
        )
    click.echo(as_text(store, summary))


def as_text(store: RunStore, run: RunSummary) -> str:
    """A run for people: how it stands, why, its jobs, where everything is."""
    from pikaci.render.words import between

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
    lines += [f"rerun of {run.rerun_of}"] if run.rerun_of else []
    lines += [f"started  {run.created_at}" + (f", took {took}" if took else "")]
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
    rest = [*_passed_over(run.jobs), *_artifacts(store.run(run.run_id), run.jobs)]
    return "\n".join([*map(one_line, lines), table(head, rows), *map(one_line, rest)])


def _passed_over(jobs: Sequence[JobSummary]) -> list[str]:
    rows = [
        f"passed over for {job.id}: {host}: {reason}"
        for job in jobs
        for host, reason in dict.fromkeys(job.passed_over)
    ]
    return ["", *rows] if rows else []


def _natural(name: str) -> str:
    """What sorts f2 before f10."""
    return re.sub(r"\d+", lambda found: found[0].zfill(20), name)


def _artifacts(layout: RunLayout, jobs: Sequence[JobSummary]) -> list[str]:
    paths = [
        layout.attempt(job.id, job.attempt) / "artifacts" / "files" / name
        for job in jobs
        for name in sorted(job.artifacts, key=_natural)
    ]
    lines = ["", *(f"artifact {path}" for path in paths[:ARTIFACTS_SHOWN])] if paths else []
    more = len(paths) - ARTIFACTS_SHOWN
    return [*lines, f"... and {more} more; --json lists them"] if more > 0 else lines
