"""What tools say about a line of a file, found in what a job printed.

The formats: `FILE:LINE[:COLUMN]: error: text` of gcc, clang, mypy and shellcheck; `FILE:LINE: text`
of Go; `FILE:LINE:COLUMN: CODE text` of ruff and flake8; pytest's `FILE:LINE: AssertionError` after
its lines that begin with `E`, and its short form; rustc's header and arrow; a panic in Rust;
TypeScript's `FILE(LINE,COLUMN)`; and the workflow commands that tools print for GitHub, of which
only file, line, column, title and message are taken.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from pikaci.screen import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.record.record import TestSummary

LONGEST_MESSAGE = 1000
"""Characters of a message, of which a page shows a few lines."""
LONGEST_LINE = 4000
"""Characters of a line that are read: what is longer is no tool's message."""
HEADER_LINES = 4
"""How far below a header of rustc its arrow may be."""


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True)
class Finding:
    """A message about a file's line, or without a file about a job."""

    level: Level
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    title: str = ""


_PLACE = r"(?!\d+:)(?P<file>[^\s:()]+):(?P<line>\d{1,7})(?::(?P<column>\d{1,5}))?"
_COLON = re.compile(rf"^\s*(?:vet: )?{_PLACE}(?:[-:]\d+)*: ?(?P<text>\S.*)")
_PAREN = re.compile(
    r"^(?P<file>[^\s:()]+)\((?P<line>\d{1,7}),(?P<column>\d{1,5})\): (?P<text>\S.*)"
)
_LEVEL = re.compile(r"(?:fatal )?(error|warning|note)\b[^:]*: ?(.+)", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]{1,6}\d{1,5}:? ")
_PYTHON = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*(?:Error|Exception|Failed|Exit|Interrupt|Warning))(?:: (?P<why>.+))?"
)
_FRAME = re.compile(r"in [\w.<>]+")
_RUST_HEADER = re.compile(r"(error|warning)(?:\[\w+\])?: (.+)")
_RUST_ARROW = re.compile(rf"\s*--> {_PLACE}$")
_RUST_PANIC = re.compile(rf"thread .{{1,200}} panicked at {_PLACE}:$")
_NUMBER = re.compile(r"[0-9]{1,7}")
_COMMAND = re.compile(r"\s*::(error|warning|notice)(?: ([^:]*))?::(.*)")


def of_tests(tests: TestSummary | None) -> Iterator[Finding]:
    """The tests that failed, as the reports of a job have them."""
    for case in tests.failures if tests else ():
        title = f"{case.suite}: {case.name}" if case.suite else case.name
        message = _plain(case.message or f"test {case.status}")
        place = Finding(Level.ERROR, "", case.file, case.line, title=_plain(title))
        yield _of(place, Level.ERROR, message)


class Reader:
    """Finds what is said in lines, one after the other."""

    def __init__(self) -> None:
        self._header: Finding | None = None
        """What a rust compiler said, whose place is still to come."""
        self._header_lines = 0
        self._panic: Finding | None = None
        self._asserted = ""
        self._frame: Finding | None = None
        """Where pytest's short traceback is, whose error is still to come."""

    def read(self, raw: str) -> Finding | None:
        """What a line completes."""
        line = shown(raw[:LONGEST_LINE])
        if panic := self._panic:
            self._panic = None
            return _of(panic, panic.level, line)
        if found := _COMMAND.fullmatch(line):
            return _commanded(*found.groups(default=""))
        if line.startswith("E  "):
            if frame := self._frame:
                self._frame = None
                return _of(frame, Level.ERROR, line[1:])
            self._asserted = self._asserted or line[1:].strip()
        elif found := _RUST_HEADER.fullmatch(line):
            self._header = Finding(Level(found[1]), found[2])
            self._header_lines = HEADER_LINES
        elif self._header and (found := _RUST_ARROW.fullmatch(line)):
            header, self._header = self._header, None
            return _of(_placed(found), header.level, header.message)
        elif found := _RUST_PANIC.fullmatch(line):
            self._panic = _placed(found)
        elif found := _COLON.fullmatch(line) or _PAREN.fullmatch(line):
            return self._told(_placed(found), found["text"])
        if self._header_lines:
            self._header_lines -= 1
        else:
            self._header = None
        return None

    def _told(self, place: Finding, text: str) -> Finding | None:
        if found := _LEVEL.fullmatch(text):
            level = found[1].lower()
            return None if level == "note" else _of(place, Level(level), found[2])
        if _CODE.match(text) or (place.file or "").endswith(".go"):
            return _of(place, Level.ERROR, text)
        if found := _PYTHON.fullmatch(text):
            level = Level.WARNING if found["name"].endswith("Warning") else Level.ERROR
            asserted, self._asserted = self._asserted, ""
            return _of(place, level, found["why"] or asserted or text)
        self._frame = place if _FRAME.fullmatch(text) else None
        return None


def _placed(found: re.Match[str]) -> Finding:
    column = found["column"]
    place = Finding(Level.ERROR, "", found["file"], int(found["line"]))
    return replace(place, column=int(column)) if column else place


def _of(place: Finding, level: Level, message: str) -> Finding:
    return replace(place, level=level, message=message.strip()[:LONGEST_MESSAGE])


def _commanded(level: str, properties: str, data: str) -> Finding:
    pairs = (pair.partition("=") for pair in properties.split(","))
    values = {
        name.strip().lower(): _unescaped(value.replace("%3A", ":").replace("%2C", ","))
        for name, _, value in pairs
    }
    line, column = (_number(values.get(name)) for name in ("line", "col"))
    place = Finding(Level(level), "", values.get("file") or None, line, column)
    return _of(
        replace(place, title=values.get("title", "")[:LONGEST_MESSAGE]),
        place.level,
        _unescaped(data),
    )


def _unescaped(text: str) -> str:
    for escape, char in (("%0D", ""), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, char)
    return _plain(text)


def _plain(text: str) -> str:
    return "\n".join(map(shown, text[:LONGEST_LINE].split("\n")))


def _number(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None
