"""`pikaci logs`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import click

from jerichoci.errors import RecordError, UsageError
from jerichoci.state.ids import check_id
from jerichoci.status import LogKind, Status
from pikaci import options
from pikaci.completion import complete_job
from pikaci.log_output import Matches, Printer, last_lines
from pikaci.nearest import no_job
from pikaci.printed import joined, reader
from pikaci.service_logs import ServiceLog, no_service, service_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.record.store import RunStore
    from jerichoci.record.summary import RunSummary
    from pikaci.printed import LogReader


@click.command("logs")
@click.option(
    "--job",
    "job",
    metavar="ID",
    help="Only this job.  [default: all]",
    shell_complete=complete_job,
)
@click.option("--failed", is_flag=True, help="Only jobs that failed.")
@click.option("--grep", metavar="PATTERN", help="Only lines that match a regular expression.")
@click.option("--ignore-case", "-i", is_flag=True, help="Let --grep match either case.")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each job."
)
@click.option(
    "--verbose", "-v", is_flag=True, help="Also what pikaci did for the jobs: phases, hosts, times."
)
@click.option(
    "--kind",
    type=click.Choice(["host", "guest", "both"]),
    default="both",
    show_default=True,
    help="The host log as it is, the guest log, or what was printed to both.",
)
@click.option("--follow", "-f", is_flag=True, help="Follow the logs until the run ends.")
@click.option("--service", metavar="NAME", help="The log of a service instead of the job's.")
@click.option("--metadata-json", is_flag=True, help="Print paths and sizes of the logs.")
@options.runs_records
def logs_command(
    store: RunStore,
    runs: list[str],
    job: str | None,
    grep: str | None,
    tail: int | None,
    kind: str,
    service: str | None,
    *,
    failed: bool,
    ignore_case: bool,
    verbose: bool,
    follow: bool,
    metadata_json: bool,
) -> None:
    """Print what the jobs of RUN printed: the id of a run or a batch, or by default `latest`.

    \b
    pikaci logs --failed
    pikaci logs --job unit --grep 'error|warning' -i
    """
    if metadata_json:
        rows = [row for each in runs for row in store.load_logs_metadata(each)]
        options.print_json([{**vars(row), "path": str(row.path)} for row in rows])
        return
    if service and follow:
        raise UsageError("the log of a service can't be followed", "it is there after the job")
    if failed and follow:
        raise UsageError("--failed can't be followed", "a job has failed when its log has ended")
    jobs = _choose(store, runs, job, failed=failed)
    if not jobs:
        click.echo("no job failed", err=True)
        return
    kinds = [LogKind.HOST, LogKind.GUEST] if kind == "both" else [LogKind(kind)]
    pattern = _pattern(grep, ignore_case=ignore_case)
    if service:
        ids = [(each.run_id, each.job_id) for each in jobs]
        jobs = [each for each in jobs if service_log(store, each.run_id, each.job_id, service)]
        if not jobs:
            raise no_service(store, ids, service)
    is_whole = verbose or kind == "host"
    shown = _Shown(kinds, pattern, tail, is_whole, len(jobs) > 1, service)
    if follow:
        _follow(store, jobs, shown)
    else:
        _print(store, jobs, shown)


@dataclass(frozen=True)
class _Job:
    """A job whose logs are shown."""

    run_id: str
    job_id: str
    label: str
    """Its id, after that of its target where there are several runs."""


@dataclass(frozen=True)
class _Shown:
    """What of the logs to print."""

    kinds: Sequence[LogKind]
    pattern: re.Pattern[str] | None
    tail: int | None
    is_whole: bool
    """Whether pikaci's own lines are shown, too."""
    is_labelled: bool
    service: str | None = None

    def sources(self, store: RunStore, job: _Job) -> Sequence[LogReader | ServiceLog]:
        """What is printed of a job: the log of the service, or the job's own."""
        if self.service is None:
            return self.readers(store, job)
        log = service_log(store, job.run_id, job.job_id, self.service)
        return [log] if log else []

    def readers(self, store: RunStore, job: _Job) -> list[LogReader]:
        """Of the logs of a job."""
        of_job = (store, job.run_id, job.job_id)
        return [reader(*of_job, kind, is_whole=self.is_whole) for kind in self.kinds]

    def matches(self, job: _Job, numbers: Iterator[int]) -> Matches | None:
        """What finds the lines in a log of a job."""
        label = job.label if self.is_labelled else None
        return Matches(self.pattern, label, numbers) if self.pattern else None


def _pattern(text: str | None, *, ignore_case: bool) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(
            f"--grep {text!r} is not a regular expression: {error}", "write `\\` before a sign"
        ) from None


def _choose(store: RunStore, runs: list[str], job: str | None, *, failed: bool) -> list[_Job]:
    if job is not None:
        check_id(job, "job")
    found = []
    known: list[str] = []
    for run_id in runs:
        summary = store.summary(run_id)
        ids = store.job_ids(run_id)
        known += ids
        if failed:
            ids = _failed(summary)
        target = f"{summary.target_id or run_id}/" if len(runs) > 1 else ""
        found += [_Job(run_id, each, target + each) for each in ids if job in {None, each}]
    if job is not None and job not in known:
        raise no_job(f"run {', '.join(runs)}", job, known)
    return found


def _failed(run: RunSummary) -> list[str]:
    if run.unreadable:
        raise RecordError(
            f"what failed in run {run.run_id} is not known: {run.unreadable}", "omit --failed"
        )
    return [job.id for job in run.jobs if job.status == Status.FAILED]


def _print(store: RunStore, jobs: Sequence[_Job], shown: _Shown) -> None:
    printer = Printer()
    found = 0
    for job in jobs:
        pieces = joined(each.rest() for each in shown.sources(store, job))
        matches = shown.matches(job, count(1))
        if matches:
            pieces = matches.among(pieces)
        elif shown.is_labelled:
            printer.head(job.label)
        for piece in pieces if shown.tail is None else last_lines(pieces, shown.tail):
            printer.write(job.label, job.label, piece)
        found += matches.count if matches else 0
    printer.end()
    if shown.pattern and not found:
        click.echo(f"no line matches {shown.pattern.pattern!r}", err=True)


def _follow(store: RunStore, jobs: Sequence[_Job], shown: _Shown) -> None:
    from jerichoci.record.store import FOLLOW_INTERVAL_SECS

    printer = Printer(labels=shown.is_labelled and not shown.pattern)
    followers = [each for job in jobs for each in _followers(store, job, shown, printer)]
    runs = {job.run_id for job in jobs}
    while True:
        is_over = all(map(store.is_over, runs))
        for run_id in runs if is_over else ():
            if why := store.summary(run_id).unreadable:
                raise RecordError(
                    f"run {run_id} can't be followed: {why}",
                    "without --follow what there is of its logs is printed",
                )
        for follower in followers:
            follower.show()
        if is_over:
            for follower in followers:
                follower.end()
            printer.end()
            return
        time.sleep(FOLLOW_INTERVAL_SECS)


def _followers(store: RunStore, job: _Job, shown: _Shown, printer: Printer) -> Iterator[_Follower]:
    numbers = count(1)
    for each in shown.readers(store, job):
        yield _Follower(each, shown.matches(job, numbers), job.label, printer, shown.tail)


@dataclass(eq=False)
class _Follower:
    """Prints what is new of one log each time it is asked; first, of what is there, the tail."""

    reader: LogReader
    matches: Matches | None
    label: str
    printer: Printer
    tail: int | None

    def show(self) -> None:
        pieces = self._new()
        if self.tail is not None:
            pieces, self.tail = last_lines(pieces, self.tail), None
        for piece in pieces:
            self.printer.write(self.label, self, piece)

    def end(self) -> None:
        rest = self.reader.end()
        if self.matches:
            rest = self.matches.feed(rest) + self.matches.end()
        self.printer.write(self.label, self, rest)

    def _new(self) -> Iterator[bytes]:
        while (data := self.reader.step()) is not None:
            yield self.matches.feed(data) if self.matches else data
