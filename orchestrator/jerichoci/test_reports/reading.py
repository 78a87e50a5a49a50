"""Reading all reports of an attempt, in a thread: into the summary of a record and tests.jsonl.

Whatever is in a report, this ends: in time, with bounded memory, and with a summary.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jerichoci.record.record import TestCase, TestReport, TestSummary
from jerichoci.state.reading import open_file
from jerichoci.status import TestFormat, TestStatus
from jerichoci.test_reports.case import Case, Reader, UnreadableError
from jerichoci.test_reports.plain import plain
from jerichoci.test_reports.recognise import HEAD_BYTES, MOST_PATH, format_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import TextIO

READ_SECS = 60.0
"""For all reports of an attempt: a million tests in JUnit take 6 s on an idle processor."""
MOST_BYTES = 1024 * 1024 * 1024
"""Of one report."""
MOST_REPORTS = 2000
"""Java's tools write one for each class."""
MOST_CASES = 2_000_000
"""Of all reports of an attempt."""
MOST_LISTED = 100_000
"""Tests in tests.jsonl; more are counted only."""
MOST_FAILURES = 50
MOST_FAILURE_CHARS = 16 * 1024
"""Of all failures in a record."""
MOST_REPORT_ROWS = 50
"""Reports in a record, those first that were not read to their end."""
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
NAME_CHARS = 300
PATH_CHARS = 4096
"""The longest path that there can be."""
MESSAGE_CHARS = 1000


_WORKSPACE = re.compile(r"\A/(?:.*?/)?(?:scratch/[\w-]+/workspace|workspace/snapshot)/")
"""Where a job's workspace is, on a host and in a guest: places are written relative to it."""


def read_reports(
    files: Path,
    paths: Iterable[str],
    into: Path,
    is_over: Callable[[], bool],
    hide: Callable[[str], str] = str,
) -> TestSummary | None:
    """The tests of the artifacts below `files`; None if no artifact is a report. Blocking.

    Each test is a line of `into`, which is not made without one. `hide` takes out of their texts
    what is not to be shown.
    """
    tally = _Tally(into, hide)

    def check() -> None:
        if is_over():
            raise UnreadableError("it could not be read in time")

    try:
        for path in sorted(paths):
            if is_over() or len(tally.reports) == MOST_REPORTS:
                break
            _read(files, path, tally, check)
    finally:
        tally.close()
    return tally.summary()


def _read(files: Path, path: str, tally: _Tally, check: Callable[[], None]) -> None:
    try:
        file = os.fdopen(open_file(files / path, os.O_NOFOLLOW), "rb")
    except (OSError, ValueError):
        return  # its name is not UTF-8, and no report is called so
    with file:
        kind = format_of(path, file.read(HEAD_BYTES))
        if kind is None:
            return
        file.seek(0)
        problem = None
        try:
            check()
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise UnreadableError(f"it is larger than {MOST_BYTES // 2**20} MiB")  # noqa: TRY301 - one way out
            for case in _reader(kind)(file, check):
                tally.add(case)
        except UnreadableError as error:
            problem = plain(str(error), MESSAGE_CHARS)
        except Exception as error:  # noqa: BLE001 - whatever a stranger wrote, the run continues
            problem = f"pikaci could not read it: {plain(repr(error), MESSAGE_CHARS)}"
        tally.reports.append(
            TestReport(path=plain(path, MOST_PATH), format=kind, unreadable=problem)
        )


def _reader(kind: TestFormat) -> Reader:
    match kind:
        case TestFormat.JUNIT:
            from jerichoci.test_reports.junit import read_junit

            return read_junit
        case TestFormat.TAP:
            from jerichoci.test_reports.tap import read_tap

            return read_tap
        case TestFormat.GO:
            from jerichoci.test_reports.go import read_go

            return read_go
        case TestFormat.CARGO:
            from jerichoci.test_reports.cargo import read_cargo

            return read_cargo


class _Tally:
    """Counts tests, and writes them down."""

    def __init__(self, path: Path, hide: Callable[[str], str]) -> None:
        self._hide = hide
        self.reports: list[TestReport] = []
        self._path = path
        self._file: TextIO | None = None
        self._counts = dict.fromkeys(TestStatus, 0)
        self._total = 0
        self._duration: int | None = None
        self._failures: list[TestCase] = []
        self._chars = 0

    def add(self, case: Case) -> None:
        """Take a test."""
        if self._total == MOST_CASES:
            raise UnreadableError(f"only the first {MOST_CASES} tests were read")
        self._total += 1
        self._counts[case.status] += 1
        if case.duration_ms is not None:
            self._duration = (self._duration or 0) + case.duration_ms
        is_bad = case.status in {TestStatus.FAILED, TestStatus.ERROR}
        wanted = is_bad and len(self._failures) < MOST_FAILURES and self._chars < MOST_FAILURE_CHARS
        if self._total > MOST_LISTED and not wanted:
            return
        for field in ("name", "suite", "file", "message"):
            if text := getattr(case, field):
                setattr(case, field, self._hide(text))
        values = _values(case)
        if self._total <= MOST_LISTED:
            self._write(values)
        if wanted:
            self._chars += sum(len(value) for value in values.values() if isinstance(value, str))
            self._failures.append(TestCase(**values))

    def _write(self, values: dict[str, Any]) -> None:
        # A disk that is full does not matter to what the job came to.
        with suppress(OSError):
            if self._file is None:
                fd = os.open(self._path, WRITE_FLAGS, 0o600)
                self._file = os.fdopen(fd, "w", encoding="utf-8")
            self._file.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Have all of it on disk."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def summary(self) -> TestSummary | None:
        """What a record has of it."""
        if not self.reports:
            return None
        rows = sorted(self.reports, key=lambda report: report.unreadable is None)
        return TestSummary(
            total=self._total,
            passed=self._counts[TestStatus.PASSED],
            failed=self._counts[TestStatus.FAILED],
            errors=self._counts[TestStatus.ERROR],
            skipped=self._counts[TestStatus.SKIPPED],
            duration_ms=self._duration,
            reports=rows[:MOST_REPORT_ROWS],
            failures=self._failures,
        )


def _values(case: Case) -> dict[str, Any]:
    return {
        "name": plain(case.name, NAME_CHARS) or "(no name)",
        "suite": plain(case.suite, NAME_CHARS),
        "status": case.status.value,
        "duration_ms": case.duration_ms,
        "file": case.file
        and plain(_WORKSPACE.sub("", case.file[:PATH_CHARS], count=1), NAME_CHARS),
        "line": case.line,
        "message": case.message and plain(case.message, MESSAGE_CHARS, lines=True),
    }
