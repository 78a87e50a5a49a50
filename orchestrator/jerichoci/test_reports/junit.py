"""JUnit XML, as pytest, Maven, Gradle, gotestsum, ctest and most others write it.

It is parsed by defusedxml on expat: a document type, which alone can declare entities and name
other files, is refused before anything of it is read; and expat takes a file piece by piece, where
lxml without entities would still accept the document type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from jerichoci.status import TestStatus
from jerichoci.test_reports.case import Case, Check, UnreadableError, line_number, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 64 * 1024
MOST_LEVELS = 100
"""So deep may elements nest; suites do so three or four deep."""
MOST_NAMES = 1000
"""So many different names of elements and attributes: each stays in memory."""
TAG_BYTES = 16 * 1024 * 1024
"""The longest tag with its attributes: it is in memory as a whole."""
TEXT_CHARS = 64 * 1024
"""Kept of what a failure prints; the rest is passed over."""
RESULTS = {
    "failure": TestStatus.FAILED,
    "error": TestStatus.ERROR,
    "skipped": TestStatus.SKIPPED,
}
ORDER = (TestStatus.FAILED, TestStatus.ERROR, TestStatus.SKIPPED, TestStatus.PASSED)
"""Of several results of one test, the first counts."""
_PLACE = re.compile(r"([^\s:][^:\n]{0,300}):(\d{1,9}): \S")
"""How the last line of pytest's account of a failure begins."""


def read_junit(file: BinaryIO, check: Check) -> Iterator[Case]:
    """The tests of a report."""
    target = _Target()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    size = 0
    try:
        while piece := file.read(PIECE_BYTES):
            check()
            size += len(piece)
            parser.feed(piece)
            yield from target.take()
            _check_names(target)
            if size - parser.parser.CurrentByteIndex > TAG_BYTES:
                raise UnreadableError(f"a tag in it is longer than {TAG_BYTES // 2**20} MiB")
        parser.close()
    except DefusedXmlException:
        yield from target.take()
        raise UnreadableError(
            "it has a document type (DTD), which could declare entities and name other files"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        yield from target.take()
        raise UnreadableError(f"it is not well-formed XML: {error}") from None
    yield from target.take()


def _check_names(target: _Target) -> None:
    if len(target.names) > MOST_NAMES:
        raise UnreadableError(f"it has more than {MOST_NAMES} names of elements and attributes")


class _Target:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._found: list[Case] = []
        self._path: list[str] = []
        self._suites: list[str] = []
        self._case: dict[str, str] | None = None
        self._status = TestStatus.PASSED
        self._result: dict[str, str] = {}
        """The attributes of the element that gave the test its status."""
        self._text: list[str] | None = None
        self._length = 0

    def take(self) -> list[Case]:
        """What was found since."""
        found, self._found = self._found, []
        return found

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        name = tag.rpartition("}")[2]
        self.names.add(tag)
        self.names.update(attributes)
        self._path.append(name)
        if len(self._path) > MOST_LEVELS:
            raise UnreadableError(f"its elements nest more than {MOST_LEVELS} deep")
        if name in {"testsuite", "testsuites"}:
            self._suites.append(attributes.get("name", ""))
        elif name == "testcase" and self._case is None:
            self._case, self._result = attributes, {}
            self._status = _of_attributes(attributes)
            self._text, self._length = None, 0
        elif self._case is not None and name in RESULTS:
            self._begin_result(RESULTS[name], attributes)

    def _begin_result(self, status: TestStatus, attributes: dict[str, str]) -> None:
        if ORDER.index(status) < ORDER.index(self._status) or not self._result:
            self._status, self._result = status, attributes or {"message": ""}
            self._text, self._length = [], 0

    def data(self, text: str) -> None:
        """A piece of text."""
        if self._text is not None and self._path[-1] in RESULTS and self._length < TEXT_CHARS:
            self._text.append(text)
            self._length += len(text)

    def end(self, _tag: str) -> None:
        """An element ends."""
        name = self._path.pop()
        if name in {"testsuite", "testsuites"}:
            self._suites.pop()
        elif name == "testcase" and "testcase" not in self._path and self._case is not None:
            self._found.append(self._as_case(self._case))
            self._case = None

    def close(self) -> None:
        """Nothing is left to do."""

    def _as_case(self, attributes: dict[str, str]) -> Case:
        case = Case(
            attributes.get("name") or "(no name)",
            attributes.get("classname") or next(filter(None, reversed(self._suites)), ""),
            self._status,
            milliseconds(attributes.get("time")),
        )
        if self._result:
            text = "".join(self._text or ()).strip()
            case.message = self._result.get("message") or text or self._result.get("type")
            place = _PLACE.match(text.rpartition("\n")[2])
            own = (
                (place[1], place[2]) if place else (attributes.get("file"), attributes.get("line"))
            )
            file, line = self._result.get("file"), self._result.get("line")
            file, line = (file, line) if file else own
            case.file, case.line = file, line_number(line)
        return case


def _of_attributes(attributes: dict[str, str]) -> TestStatus:
    """What GoogleTest and ctest say of a test that was not run."""
    said = {attributes.get("status"), attributes.get("result")}
    was_left_out = said & {"notrun", "disabled", "suppressed", "skipped"}
    return TestStatus.SKIPPED if was_left_out else TestStatus.PASSED
