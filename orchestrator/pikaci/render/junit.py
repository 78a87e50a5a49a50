"""`--junit FILE`: what runs came to, as JUnit XML: a suite for each target, a case for each job.

A case has a `failure` if the job failed or timed out, an `error` if it could not be run or was
cancelled, `skipped` if it did not begin. The file is written when all runs are over, whole or not
at all; if it can't be written, that is a sentence on stderr, and the runs' results stay.
"""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from jerichoci.record.event import EventBase, RunFinished, RunStarted
from jerichoci.record.journal import complain
from jerichoci.status import FailureKind, Status
from jerichoci.test_reports.plain import without_escapes
from pikaci.render.tail import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.record.record import JobRecord, RunRecord, TestCase
    from jerichoci.state.layout import RunLayout, StateLayout

TAIL_LINES = 200
LINE_CHARS = 2000
"""Of a line of a log; servers show a case as a whole."""
LAST_LINES = 20
"""Of those, beside the result itself."""
FIRST_LINES = 1000
"""Of a log, after which the middle is passed over."""
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML can't have, not even escaped."""
_KINDS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


class JunitFile:
    """Keeps the records of runs, and writes them to a file when it is closed."""

    def __init__(self, path: Path, state: StateLayout) -> None:
        self._path = path
        self._state = state
        self._runs: dict[str, RunRecord | None] = {}

    def emit(self, event: EventBase) -> None:
        """Take note of a run that begins or is over."""
        match event:
            case RunStarted(run=run):
                self._runs[run.run_id] = None
            case RunFinished(run=run):
                self._runs[run.run_id] = run

    def close(self) -> None:
        """Write the file."""
        runs = [run for run in self._runs.values() if run is not None]
        if runs:
            write_junit(self._path, [(run, self._state.run(run.run_id)) for run in runs])


def write_junit(path: Path, runs: Sequence[tuple[RunRecord, RunLayout]]) -> None:
    """Write the document of some runs; a sentence on stderr if that can't be done."""
    try:
        _write(path, junit_xml(runs))
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the runs' results stay
        why = error.strerror if isinstance(error, OSError) else repr(error)
        complain(f"could not write {path}: {why}")


def junit_xml(runs: Sequence[tuple[RunRecord, RunLayout]]) -> bytes:
    """Runs, each with where its logs are, as a document."""
    root = ET.Element("testsuites", name="pikaci")
    root.extend(_suite(run, layout) for run, layout in runs)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _suite(run: RunRecord, layout: RunLayout) -> ET.Element:
    suite = ET.Element("testsuite", name=_legal(run.target_id))
    properties = ET.SubElement(suite, "properties")
    for name in ("run_id", "batch", "status", "snapshot_id", "git_head"):
        if value := getattr(run, name):
            ET.SubElement(properties, "property", name=name, value=_legal(value))
    cases = [_case(run, job, layout) for job in run.jobs]
    if run.status is Status.FAILED and all(job.status is not Status.FAILED for job in run.jobs):
        cases.append(_broken(run))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    for element, name in _KINDS.items():
        suite.set(name, str(sum(case.find(element) is not None for case in cases)))
    suite.set("time", _seconds(run.created_at, run.finished_at))
    suite.set("timestamp", run.created_at.partition(".")[0].removesuffix("Z"))
    suite.set("hostname", os.uname().nodename)
    return suite


def _case(run: RunRecord, job: JobRecord, layout: RunLayout) -> ET.Element:
    case = ET.Element("testcase", classname=_legal(run.target_id), name=_legal(job.id))
    case.set("time", _seconds(job.started_at, job.finished_at))
    message = job.message or (job.cause.message if job.cause else "")
    tail = list(_tail(job, layout)) if job.status is Status.FAILED else []
    match job.status:
        case Status.PASSED:
            pass
        case Status.SKIPPED:
            ET.SubElement(case, "skipped", message=_legal(message))
            return case
        case Status.FAILED if job.failure_kind is not FailureKind.INFRASTRUCTURE:
            _add_result(case, "failure", job, message, tail)
        case _:
            _add_result(case, "error", job, message, tail)
    if printed := [*_why(job), *tail]:
        ET.SubElement(case, "system-out").text = _legal("\n".join(printed))
    return case


def _add_result(case: ET.Element, kind: str, job: JobRecord, message: str, tail: list[str]) -> None:
    """Add why a job failed, and its failed tests or else its last lines: GitLab shows no others."""
    result = ET.SubElement(case, kind, message=_legal(message))
    result.set("type", job.cause.code if job.cause else job.failure_kind or job.status)
    details = [_failure(test) for test in job.tests.failures] if job.tests else []
    result.text = _legal("\n".join([message, *(details or ["", *tail[-LAST_LINES:]])]).rstrip())


def _broken(run: RunRecord) -> ET.Element:
    """The case of a run that failed though no job of it did."""
    case = ET.Element("testcase", classname=_legal(run.target_id), name="(run)", time="0.000")
    result = ET.SubElement(case, "error", message=_legal(run.message or ""))
    result.set("type", run.cause.code if run.cause else run.failure_kind or run.status)
    return case


def _failure(test: TestCase) -> str:
    """A failed test, where it is, and why."""
    suite = f"{test.suite} " if test.suite else ""
    place = f" ({test.file}:{test.line})" if test.file and test.line else ""
    why = "".join(f"\n    {line}" for line in (test.message or "").splitlines())
    return f"\n{suite}{test.name}{place}{why}"


def _why(job: JobRecord) -> Iterator[str]:
    """The cause of a job's end, and what its tests came to."""
    if job.cause is not None and job.status is not Status.PASSED:
        yield job.cause.message
        if job.cause.hint:
            yield job.cause.hint
    if job.tests is not None and not job.tests.bad:
        yield job.tests.in_words()
    yield from job.notes


def _tail(job: JobRecord, layout: RunLayout) -> Iterator[str]:
    """The last lines that a job printed, or the prepare that it failed for."""
    directory = layout.attempt(job.id, max(1, job.attempt))
    for name in ("guest.log", "host.log"):
        log, last, count = Log(directory / name, job.id), deque[str](maxlen=TAIL_LINES), 0
        with suppress(OSError):  # a job may have put something else in its place
            for who, line in log.rest():
                count += 1
                last.append(f"{'' if who == job.id else f'{who}> '}{line[:LINE_CHARS]}")
                if count == FIRST_LINES:
                    count += log.skip()
        if last:
            yield ""
            if count > len(last):
                yield f"... {count - len(last)} lines ..."
            yield from last
            return


def _legal(text: str) -> str:
    r"""A text that XML can have: escape sequences removed, other characters as `\x00`."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in without_escapes(text).split("\n"))
    return _ILLEGAL.sub(
        lambda found: found[0].encode("unicode_escape").decode("ascii"), "\n".join(lines)
    )


def _seconds(started: str | None, finished: str | None) -> str:
    """A time as JUnit has it; 0.000 where it is not known."""
    with suppress(ValueError, TypeError):
        if started and finished:
            took = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
            return f"{max(0.0, took.total_seconds()):.3f}"
    return "0.000"


def _write(path: Path, data: bytes) -> None:
    """Replace a file, with the mode that new files have here; a device or a pipe is written to."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            out.write(data)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temp.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
