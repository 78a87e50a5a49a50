"""`pikaci logs`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from jerichoci.errors import RecordError
from jerichoci.state.ids import check_id
from jerichoci.state.line_splitter import LineSplitter
from jerichoci.state.log_file import read_log
from jerichoci.status import LogKind
from pikaci import options
from pikaci.completion import complete_job
from pikaci.nearest import no_job
from pikaci.screen import has_colours, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.record.store import RunStore

CHUNK_BYTES = 4 * 1024 * 1024


@click.command("logs")
@click.option(
    "--job",
    "job",
    metavar="ID",
    help="Only this job.  [default: all]",
    shell_complete=complete_job,
)
@click.option(
    "--kind",
    type=click.Choice(["host", "guest", "both"]),
    default="both",
    show_default=True,
    help="The host log (what pikaci did, and a host process's output), the guest log, or both.",
)
@click.option("--follow", "-f", is_flag=True, help="Follow the logs until the run ends.")
@click.option("--metadata-json", is_flag=True, help="Print paths and sizes of the logs.")
@options.run_records
def logs_command(
    store: RunStore,
    run: str,
    job: str | None,
    kind: str,
    *,
    follow: bool,
    metadata_json: bool,
) -> None:
    """Print the logs of RUN's jobs. RUN is an id, a unique prefix of one, or `latest`."""
    if metadata_json:
        rows = [{**vars(row), "path": str(row.path)} for row in store.load_logs_metadata(run)]
        options.print_json(rows)
        return
    jobs = _jobs(store, run, job)
    kinds = [LogKind.HOST, LogKind.GUEST] if kind == "both" else [LogKind(kind)]
    if follow:
        _follow(store, run, jobs, kinds)
        return
    printer = _Printer()
    for name in jobs:
        if len(jobs) > 1:
            printer.head(name)
        for each in kinds:
            next(_pieces(store, run, name, each, printer))
    printer.end()


def _jobs(store: RunStore, run_id: str, job: str | None) -> list[str]:
    known = store.job_ids(run_id)
    if job is None:
        return known
    if check_id(job, "job") not in known:
        raise no_job(f"run {run_id}", job, known)
    return [job]


def _follow(store: RunStore, run_id: str, jobs: list[str], kinds: Sequence[LogKind]) -> None:
    from jerichoci.record.store import FOLLOW_INTERVAL_SECS

    printer = _Printer(labels=len(jobs) > 1)
    followers = [_pieces(store, run_id, job, kind, printer) for job in jobs for kind in kinds]
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
            printer.end()
            return
        time.sleep(FOLLOW_INTERVAL_SECS)


def _pieces(
    store: RunStore, run_id: str, job: str, kind: LogKind, printer: _Printer
) -> Iterator[None]:
    """Print what is new of one log each time it is asked."""
    path = store.log_path(run_id, job, kind)
    offset = 0
    while True:
        while data := read_log(path, offset, CHUNK_BYTES).data:
            offset += len(data)
            printer.write(job, path, data)
        newest = store.log_path(run_id, job, kind)
        if newest == path:
            yield
        else:
            # Another attempt has begun, and all of the one before is printed.
            path, offset = newest, 0


class _Printer:
    """Prints logs, each from a line of its own on: bytes as they are, or lines.

    Lines have labels, or colours at most, for a terminal.
    """

    def __init__(self, *, labels: bool = False) -> None:
        self._labels = labels
        self._is_terminal = sys.stdout.isatty()
        self._colours = has_colours(sys.stdout)
        self._unfinished: dict[Path, tuple[str, LineSplitter]] = {}
        self._last: Path | None = None
        self._is_cut = False

    def head(self, job: str) -> None:
        """Begin the logs of a job."""
        self.end()
        self._put(None, f"==> {job} <==\n".encode())

    def write(self, job: str, log: Path, data: bytes) -> None:
        """Print what is next in a log."""
        if self._labels or self._is_terminal:
            _, lines = self._unfinished.setdefault(log, (job, LineSplitter()))
            data = b"".join(self._line(job, line) for line in lines.feed(data))
        self._put(log, data)

    def end(self) -> None:
        """Print the last lines that have no end."""
        for log, (job, lines) in self._unfinished.items():
            self._put(log, b"".join(self._line(job, line) for line in lines.end()))
        self._unfinished.clear()

    def _line(self, job: str, line: bytes) -> bytes:
        if self._is_terminal:
            text = shown(line.decode("utf-8", "replace"), colours=self._colours)
            line = text.encode(sys.stdout.encoding, "backslashreplace")
        return (f"{job}> ".encode() if self._labels else b"") + line + b"\n"

    def _put(self, log: Path | None, data: bytes) -> None:
        if data:
            separator = b"\n" if self._is_cut and log != self._last else b""
            sys.stdout.buffer.write(separator + data)
            sys.stdout.buffer.flush()
            self._last, self._is_cut = log, not data.endswith(b"\n")
