"""`pikaci logs`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from jerichoci.log import read_log
from pikaci import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.status import LogKind
    from jerichoci.store import RunStore

CHUNK_BYTES = 4 * 1024 * 1024


@click.command("logs")
@options.run_argument
@click.option(
    "--job",
    "job",
    metavar="ID",
    help="Only this job.  [default: all]",
    shell_complete=options.complete_job,
)
@click.option(
    "--kind",
    type=click.Choice(["host", "guest", "both"]),
    default="both",
    show_default=True,
    help="What the host did (and a host process said), what the guest said, or both.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run is over.")
@click.option("--metadata-json", is_flag=True, help="Print where the logs are and their sizes.")
@options.flake
@options.state_root
def command(
    run: str,
    job: str | None,
    kind: str,
    flake: str | None,
    state_root: str | None,
    *,
    follow: bool,
    metadata_json: bool,
) -> None:
    """Print the logs of RUN's jobs. RUN is an id, the beginning of one, or `latest`."""
    import json

    from jerichoci.status import LogKind

    store = options.open_store(state_root, flake)
    run_id = store.resolve(run)
    if metadata_json:
        rows = [{**vars(row), "path": str(row.path)} for row in store.load_logs_metadata(run_id)]
        click.echo(json.dumps(rows, indent=2))
        return
    jobs = _jobs(store, run_id, job)
    kinds = [LogKind.HOST, LogKind.GUEST] if kind == "both" else [LogKind(kind)]
    if follow:
        _follow(store, run_id, jobs, kinds)
        return
    for name in jobs:
        if len(jobs) > 1:
            _write(f"==> {name} <==\n".encode())
        for each in kinds:
            offset = 0
            while data := store.load_logs(run_id, name, each, offset, CHUNK_BYTES).data:
                offset += len(data)
                _write(data)


def _jobs(store: RunStore, run_id: str, job: str | None) -> list[str]:
    from jerichoci.errors import UsageError
    from jerichoci.ids import check_id
    from pikaci.nearest import did_you_mean

    known = [row.id for row in store.summary(run_id).jobs]
    if job is None:
        return known
    if check_id(job, "job") not in known:
        guess = did_you_mean(job, known) or f"it has {', '.join(known)}"
        raise UsageError(f"run {run_id} has no job {job!r}", guess)
    return [job]


def _follow(store: RunStore, run_id: str, jobs: list[str], kinds: Sequence[LogKind]) -> None:
    from jerichoci.errors import RecordError
    from jerichoci.store import FOLLOW_INTERVAL_SECS

    label = len(jobs) > 1
    followers = [_lines(store, run_id, job, kind, label=label) for job in jobs for kind in kinds]
    while True:
        is_over = store.is_over(run_id)
        if is_over and (why := store.summary(run_id).unreadable):
            raise RecordError(
                f"run {run_id} can't be followed: {why}",
                "without --follow what there is of its logs is printed",
            )
        for follower in followers:
            next(follower)
        if is_over:
            return
        time.sleep(FOLLOW_INTERVAL_SECS)


def _lines(store: RunStore, run_id: str, job: str, kind: LogKind, *, label: bool) -> Iterator[None]:
    """Print what is new of one log each time it is asked, whole lines if they are labelled."""
    path = store.log_path(run_id, job, kind)
    offset, rest = 0, b""
    while True:
        while data := read_log(path, offset, CHUNK_BYTES).data:
            offset += len(data)
            if label:
                *lines, rest = (rest + data).split(b"\n")
                data = b"".join(f"{job}> ".encode() + line + b"\n" for line in lines)
            _write(data)
        newest = store.log_path(run_id, job, kind)
        if newest == path:
            yield
        else:
            # Another attempt has begun, and all of the one before is printed.
            path, offset, rest = newest, 0, b""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
