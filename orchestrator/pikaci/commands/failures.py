"""`pikaci failures`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.record.store import RunStore
    from pikaci.report.failures import Failure, RunFailures

TESTS_SHOWN = 10


@click.command("failures")
@options.json_output
@options.runs_records
def failures_command(store: RunStore, runs: list[str], *, as_json: bool) -> None:
    """Show what failed in RUN: for each job and prepare the cause, then the telling lines."""
    from pikaci.report.failures import Failures, failures_of

    found = Failures(runs=[failures_of(store, each) for each in runs])
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    blocks = [block for each in found.runs for block in _blocks(each)]
    click.echo("\n\n".join("\n".join(map(one_line, block)) for block in blocks))


def _blocks(run: RunFailures) -> Iterator[list[str]]:
    """The paragraphs on a run."""
    if run.unreadable:
        yield [f"run {run.run_id} can't be read: {run.unreadable}"]
        return
    kind = f" ({run.failure_kind})" if run.failure_kind else ""
    why = f": {run.own_message}" if run.own_message else ""
    head = f"run {run.run_id} of {run.target_id}: {run.status}{kind}{why}"
    nothing = [] if run.failures else ["nothing failed"]
    yield [head, *(f"not readable: {problem}" for problem in run.problems), *nothing]
    for failure in run.failures:
        yield list(_lines(failure))
    if run.not_run:
        yield [f"job {row.id} was skipped: {row.message}" for row in run.not_run]


def _lines(failure: Failure) -> Iterator[str]:
    message = failure.message.removeprefix(f"job {failure.id} ")
    yield f"{failure.kind} {failure.id} failed: {message}"
    cause = failure.cause
    if cause and cause.hint:
        yield f"  hint: {cause.hint}"
    if cause and cause.got_hash:
        yield f"  got hash: {cause.got_hash}"
    if facts := ", ".join(_facts(failure)):
        yield f"  {facts}"
    yield from _tests(failure)
    log = failure.log
    if log.lines:
        width = len(str(log.lines[-1].number))
        is_all = len(log.lines) == log.total
        yield "  log:" if is_all else f"  {len(log.lines)} of {log.total} lines:"
        before = log.lines[0].number - 1
        for row in log.lines:
            if row.number != before + 1:
                yield f"  {'...':>{width}}"
            yield f"  {row.number:>{width}}  {row.text}"
            before = row.number
    yield f"  more: {failure.command}"


def _facts(failure: Failure) -> Iterator[str]:
    if failure.cause and failure.cause.phase:
        yield f"phase {failure.cause.phase}"
    if failure.exit_code is not None:
        yield f"exit code {failure.exit_code}"
    if failure.attempts > 1:
        yield f"{failure.attempts} attempts"
    if failure.host not in {None, os.uname().nodename}:
        yield f"on {failure.host}"
    if failure.jobs:
        yield f"needed by {', '.join(failure.jobs)}"


def _tests(failure: Failure) -> Iterator[str]:
    tests = failure.tests
    if not tests:
        return
    bad = tests.failed + tests.errors
    yield f"  tests: {bad} of {tests.total} failed"
    for row in tests.failures[:TESTS_SHOWN]:
        place = f" ({row.file}:{row.line})" if row.file and row.line else ""
        message = f": {row.message}" if row.message else ""
        yield f"    {row.name}{place}{message}"
    if bad > TESTS_SHOWN:
        yield f"    ... and {bad - TESTS_SHOWN} more; --json lists the first 50"
