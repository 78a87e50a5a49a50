"""`go test -json`, of all versions since it is there, with the build output of later ones.

A test with subtests stands for them and is no test of its own, unless it fails and none of them
did. A package that fails without a failed test (it does not build, `TestMain` ends it) is an error,
and so is a test that did not end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from jerichoci.status import TestStatus
from jerichoci.test_reports.case import Case, Check, UnreadableError, line_number, milliseconds
from jerichoci.test_reports.lines import json_object, lines, text

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_CHARS = 4096
"""Of what a test or a build prints."""
MOST_RUNNING = 100_000
"""Tests that have begun and not ended, and packages."""
ENDS = {"pass": TestStatus.PASSED, "fail": TestStatus.FAILED, "skip": TestStatus.SKIPPED}
_FRAME = re.compile(r"\s*(?:===|---) (?:RUN|PAUSE|CONT|NAME|PASS|FAIL|SKIP)\b")
_PLACE = re.compile(r"^[ \t]*([^\s:]{1,300}\.go):(\d{1,9})(?::\d{1,9})?: ", re.MULTILINE)
_FRAME_PLACE = re.compile(r"^\t(\S{1,300}_test\.go):(\d{1,9}) \+0x", re.MULTILINE)
"""In a stack, which a panic prints."""


@dataclass(slots=True)
class _Running:
    """A test, a package (its test is empty) or a build (its package is), while it runs."""

    output: str = ""
    has_subtests: bool = False
    failed_below: bool = False


def read_go(file: BinaryIO, check: Check) -> Iterator[Case]:
    """The tests of a report."""
    reader = _Go()
    for line in lines(file, check):
        if row := json_object(line):
            yield from reader.take(row)
    yield from reader.unfinished()


class _Go:
    def __init__(self) -> None:
        self._running: dict[tuple[str, str], _Running] = {}
        self._tests: dict[str, dict[str, None]] = {}
        """The tests that run, by package."""

    def take(self, row: dict[str, Any]) -> Iterator[Case]:
        """An event, and the tests that it ends."""
        package, test, action = text(row, "Package"), text(row, "Test"), text(row, "Action")
        if action == "build-output":
            self._print("", text(row, "ImportPath"), text(row, "Output"))
        elif action == "output":
            self._print(package, test, text(row, "Output"))
        elif action == "run" and test:
            self._begin(package, test)
        elif action in ENDS and test:
            yield from self._end(package, test, ENDS[action], row)
        elif action in ENDS:
            yield from self._end_package(package, row, is_bad=action == "fail")

    def unfinished(self) -> Iterator[Case]:
        """The tests that have not ended."""
        for package in list(self._tests):
            yield from self._left(package)

    def _of(self, package: str, test: str) -> _Running:
        found = self._running.get((package, test))
        if found is None:
            if len(self._running) >= MOST_RUNNING:
                raise UnreadableError(f"more than {MOST_RUNNING} tests in it run at once")
            found = self._running[package, test] = _Running()
        return found

    def _begin(self, package: str, test: str) -> None:
        self._of(package, test)
        self._tests.setdefault(package, {})[test] = None
        if parent := self._parent(package, test):
            parent.has_subtests = True

    def _parent(self, package: str, test: str) -> _Running | None:
        above = test.rpartition("/")[0]
        return self._running.get((package, above)) if above else None

    def _print(self, package: str, test: str, output: str) -> None:
        running = self._of(package, test)
        if len(running.output) < KEPT_CHARS and not _FRAME.match(output):
            running.output += output[:KEPT_CHARS]

    def _end(
        self, package: str, test: str, status: TestStatus, row: dict[str, Any]
    ) -> Iterator[Case]:
        running = self._running.pop((package, test), None) or _Running()
        self._tests.get(package, {}).pop(test, None)
        is_bad = status is TestStatus.FAILED
        if is_bad:
            self._of(package, "").failed_below = True
            if parent := self._parent(package, test):
                parent.failed_below = True
        if not running.has_subtests or (is_bad and not running.failed_below):
            case = _case(test, package, status, running.output)
            case.duration_ms = milliseconds(row.get("Elapsed"))
            yield case

    def _end_package(self, package: str, row: dict[str, Any], *, is_bad: bool) -> Iterator[Case]:
        yield from self._left(package)
        running = self._running.pop((package, ""), None) or _Running()
        if is_bad and not running.failed_below:
            build = self._running.get(("", text(row, "FailedBuild")))
            output = build.output if build else running.output
            yield _case(package, package, TestStatus.ERROR, output)

    def _left(self, package: str) -> Iterator[Case]:
        for test in self._tests.pop(package, {}):
            running = self._running.pop((package, test), None) or _Running()
            if not running.has_subtests:
                self._of(package, "").failed_below = True
                output = f"it did not end\n{running.output}"
                yield _case(test, package, TestStatus.ERROR, output)


def _case(name: str, suite: str, status: TestStatus, output: str) -> Case:
    case = Case(name, suite, status)
    if status is not TestStatus.PASSED:
        case.message = output.strip() or None
        if found := _PLACE.search(output) or _FRAME_PLACE.search(output):
            case.file, case.line = found[1], line_number(found[2])
    return case
