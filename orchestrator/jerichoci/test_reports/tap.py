"""TAP, versions 12 to 14, as Perl, node, bats and others print it.

A test point with subtests stands for them and is no test of its own, unless it fails and none of
them did. A test that is still to do (`# TODO`) is skipped if it fails. Tests of a plan that did not
run, and a bail out, are errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from jerichoci.state.dataclass import dataclass
from jerichoci.status import TestStatus
from jerichoci.test_reports.case import Case, Check, UnreadableError, line_number
from jerichoci.test_reports.lines import lines
from jerichoci.test_reports.tap_details import Details, Yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

INDENT = 4
MOST_LEVELS = 100
"""So deep may subtests nest."""
_POINT = re.compile(r"(not )?ok(?:\s+\d+)?(?:\s+-)?(?:\s+(.*))?$")
_PLAN = re.compile(r"1\.\.(\d{1,9})(?:\s*#.*)?\s*$")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(todo|skip)\S*\s*(.*)$", re.IGNORECASE)
_TIME = re.compile(r" in (\d{1,9})ms$")
"""How bats times tests."""
_ESCAPED = re.compile(r"\\([\\#])")
_BAIL_OUT = "Bail out!"
_SUBTEST = "# Subtest:"


@dataclass
class _Level:
    """A document: the whole, or subtests."""

    name: str = ""
    planned: int | None = None
    points: int = 0
    failed: bool = False


def read_tap(file: BinaryIO, check: Check) -> Iterator[Case]:
    """The tests of a report."""
    reader = _Tap()
    for line in lines(file, check):
        reader.take(line)
        yield from reader.found()
    reader.end()
    yield from reader.found()
    if not reader.is_whole:
        raise UnreadableError("it has no plan (1..N), so tests may be missing")


class _Tap:
    def __init__(self) -> None:
        self.is_whole = False
        """Whether it has a plan, or says why it has none."""
        self._levels = [_Level()]
        self._found: list[Case] = []
        self._last: tuple[Case, Details] | None = None
        """The last point, while its details come."""
        self._yaml: Yaml | None = None
        self._names: dict[int, str] = {}
        """Of subtests that may begin, by depth."""

    def found(self) -> list[Case]:
        """What is complete; each once."""
        found, self._found = self._found, []
        return found

    def take(self, line: str) -> None:
        """The next line."""
        if self._yaml is not None:
            if self._yaml.take(line):
                return
            self._yaml = None
        text = line.lstrip(" ")
        width = len(line) - len(text)
        if text.startswith("#"):
            self._comment(text, width // INDENT)
        elif text.rstrip() == "---" and self._last is not None:
            self._yaml = Yaml(width, self._last[1])
        elif width % INDENT == 0:
            self._take_own(text, width // INDENT)

    def _take_own(self, text: str, level: int) -> None:
        if point := _POINT.match(text):
            children = self._reach(level)
            self._point(point[2] or "", children, is_ok=not point[1])
        elif plan := _PLAN.match(text):
            self._reach(level)
            self._levels[-1].planned = int(plan[1])
            self.is_whole = self.is_whole or level == 0
        elif text.startswith(_BAIL_OUT):
            self._finish()
            why = text.removeprefix(_BAIL_OUT).strip()
            self._found.append(Case(_BAIL_OUT, self._suite(), TestStatus.ERROR, message=why))
            self._levels, self.is_whole = [_Level()], True

    def end(self) -> None:
        """Nothing comes after it."""
        self._reach(0)
        self._close()

    def _comment(self, text: str, level: int) -> None:
        if text.startswith(_SUBTEST):
            self._finish()
            if level < MOST_LEVELS:
                self._names[level + 1] = _unescaped(text.removeprefix(_SUBTEST).strip())
        elif self._last is not None:
            self._last[1].note(text[1:])

    def _reach(self, level: int) -> _Level | None:
        """Be in the document at this depth; the one below it, which is over, if there was one."""
        if level >= MOST_LEVELS:
            raise UnreadableError(f"its subtests nest more than {MOST_LEVELS} deep")
        self._finish()
        while len(self._levels) <= level:
            depth = len(self._levels)
            # Perl once put the comment as deep as the subtests themselves.
            name = self._names.pop(depth, "") or self._names.pop(depth + 1, "")
            self._levels.append(_Level(name))
        below = None
        while len(self._levels) > level + 1:
            self._close()
            below = self._levels.pop()
            self._levels[-1].failed |= below.failed
        return below

    def _point(self, rest: str, children: _Level | None, *, is_ok: bool) -> None:
        here = self._levels[-1]
        here.points += 1
        directive = _DIRECTIVE.search(rest)
        name = _unescaped(rest[: directive.start()] if directive else rest).strip()
        status = TestStatus.PASSED if is_ok else TestStatus.FAILED
        word = directive[1].lower() if directive else ""
        if word == "skip" or (word == "todo" and not is_ok):
            status = TestStatus.SKIPPED
        is_bad = status is TestStatus.FAILED
        if children and children.points and not (is_bad and not children.failed):
            return
        here.failed |= is_bad
        case = Case(name or f"test {here.points}", self._suite(), status)
        if timed := _TIME.search(name):
            case.name, case.duration_ms = name[: timed.start()], int(timed[1])
        if directive and status is TestStatus.SKIPPED:
            case.message = directive[2] or None
        self._last = case, Details()

    def _finish(self) -> None:
        """Let the last point have the details that followed it."""
        self._yaml = None
        if self._last is None:
            return
        (case, details), self._last = self._last, None
        if details.duration_ms is not None:
            case.duration_ms = details.duration_ms
        if case.status is TestStatus.FAILED:
            file, line = details.place
            case.file, case.line = file, line_number(line)
            case.message = details.message
        self._found.append(case)

    def _close(self) -> None:
        """See whether all planned tests of a document ran."""
        level = self._levels[-1]
        if level.planned is None or level.planned == level.points:
            return
        level.failed = True
        name = f"planned {level.planned} tests, but {level.points} ran"
        self._found.append(Case(name, self._suite(), TestStatus.ERROR))

    def _suite(self) -> str:
        return " > ".join(level.name for level in self._levels if level.name)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
