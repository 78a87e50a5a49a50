"""What cargo prints with `--message-format json`, and the tests of libtest beside it.

- Errors of the compiler are errors, named by their first line; warnings are not read.
- Tests are read as libtest prints them between cargo's lines, or as its JSON or that of nextest has
  them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

from jerichoci.state.reading import rows
from jerichoci.status import TestStatus
from jerichoci.test_reports.case import Case, Check, line_number, milliseconds
from jerichoci.test_reports.lines import json_object, lines, text

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_CHARS = 8192
"""Of what a failed test prints."""
MOST_FAILED = 10_000
"""Tests of one binary whose output is waited for."""
MOST_SEEN = 10_000
"""Errors that are told from earlier ones: a library is compiled again for its tests."""
EVENTS = {"ok": TestStatus.PASSED, "failed": TestStatus.FAILED, "ignored": TestStatus.SKIPPED}
RESULTS = {"ok": TestStatus.PASSED, "FAILED": TestStatus.FAILED, "ignored": TestStatus.SKIPPED}
_TEST = re.compile(
    r"test (?P<name>.+?)(?: - should panic)? \.\.\. (?P<result>ok|FAILED|ignored)"
    r"(?:, (?P<why>.*?))?(?: <(?P<secs>[\d.]+)s>)?$"
)
_SUITE = re.compile(r"\s+(?:Running (?:unittests )?|Doc-tests )(\S+)")
_OUTPUT = re.compile(r"---- (.+) stdout ----$")
_RESULT = re.compile(r"test result: ")
_PANIC = re.compile(
    r"^thread '.{0,300}?' (?:\(\d+\) )?panicked at (.{1,300}?):(\d{1,9}):\d{1,9}:\n", re.MULTILINE
)
_FRAMES = re.compile(r"^(?:stack backtrace:|note: )", re.MULTILINE)


def read_cargo(file: BinaryIO, check: Check) -> Iterator[Case]:
    """The tests of a report, and the errors of the compiler."""
    reader = _Cargo()
    for line in lines(file, check):
        row = json_object(line)
        if row is None:
            yield from reader.printed(line)
        elif row.get("reason") == "compiler-message":
            yield from reader.compiler(row)
        elif row.get("type") == "test":
            yield from reader.event(row)
    yield from reader.end()


class _Cargo:
    def __init__(self) -> None:
        self._suite = ""
        self._failed: dict[str, Case] = {}
        """Tests whose output comes later."""
        self._output: Case | None = None
        """The one whose output comes now."""
        self._seen: set[tuple[object, ...]] = set()

    def compiler(self, row: dict[str, Any]) -> Iterator[Case]:
        """A message of the compiler."""
        message, target = row.get("message"), row.get("target")
        if not isinstance(message, dict) or not text(message, "level").startswith("error"):
            return
        spans = (span for span in rows(message, "spans") if span.get("is_primary") is True)
        place: dict[str, Any] = next(spans, {})
        if not place and self._seen:
            return  # "aborting due to 2 previous errors"
        name = text(message, "message").partition("\n")[0]
        file, line = text(place, "file_name") or None, line_number(place.get("line_start"))
        if (name, file, line) in self._seen:
            return
        if len(self._seen) < MOST_SEEN:
            self._seen.add((name, file, line))
        suite = text(target, "name") if isinstance(target, dict) else ""
        yield Case(
            name, suite, TestStatus.ERROR, None, file, line, text(message, "rendered") or None
        )

    def event(self, row: dict[str, Any]) -> Iterator[Case]:
        """An event of libtest's JSON; nextest puts the binary before the name."""
        status = EVENTS.get(text(row, "event"))
        if status is None:
            return
        suite, _, name = text(row, "name").rpartition("$")
        case = Case(name, suite, status, milliseconds(row.get("exec_time")))
        if status is TestStatus.FAILED:
            _explain(case, text(row, "stdout"))
        yield case

    def printed(self, line: str) -> Iterator[Case]:
        """A line that is no JSON."""
        if found := _TEST.match(line):
            self._output = None
            case = Case(found["name"], self._suite, RESULTS[found["result"]])
            case.duration_ms = milliseconds(found["secs"])
            if case.status is TestStatus.FAILED and len(self._failed) < MOST_FAILED:
                self._failed[case.name] = case
            else:
                yield case
        elif found := _OUTPUT.match(line):
            self._output = self._failed.get(found[1].removesuffix(" - should panic"))
        elif _RESULT.match(line):
            yield from self.end()
        elif found := _SUITE.match(line):
            self._suite = found[1]
        elif line == "failures:":
            self._output = None
        elif self._output is not None and len(self._output.message or "") < KEPT_CHARS:
            self._output.message = f"{self._output.message or ''}{line[:KEPT_CHARS]}\n"

    def end(self) -> Iterator[Case]:
        """The failed tests, with what they printed."""
        for case in self._failed.values():
            _explain(case, case.message or "")
            yield case
        self._failed, self._output = {}, None


def _explain(case: Case, output: str) -> None:
    """Have a failed test say where and why it panicked."""
    case.message = output.strip() or None
    if found := _PANIC.search(output):
        case.file, case.line = found[1], line_number(found[2])
        why = output[found.end() :]
        frames = _FRAMES.search(why)
        case.message = (why[: frames.start()] if frames else why).strip() or case.message
