"""Which artifacts are test reports: by the end of their names and their first bytes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jerichoci.status import TestFormat
from jerichoci.test_reports import REPORT_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES = 64 * 1024
"""So far into a file it must be seen what it is."""
HEAD_LINES = 200
"""Go and cargo print lines of other programs, too, before their first own."""
MOST_PATH = 512
"""A report with a longer path is none: records name it."""
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_JUNIT = re.compile(r"\s*<(?:!DOCTYPE\s+)?(?:[\w.-]+:)?testsuites?[\s/>\[]")
_DOCTYPE = re.compile(r"\s*<!DOCTYPE\s[^<>\[]*(?:\[[^\]]*\]\s*)?>")
_TAP = re.compile(
    r"^(?:TAP version \d+|1\.\.\d+\b.*|(?:not )?ok\b.*|Bail out!.*)\s*$", re.MULTILINE
)


def format_of(path: str, head: bytes) -> TestFormat | None:
    """The format of an artifact, of which `head` are the first bytes; None if it is no report."""
    if not path.endswith(REPORT_SUFFIXES) or len(path) > MOST_PATH:
        return None
    if path.endswith(".xml"):
        return TestFormat.JUNIT if _is_junit(_decoded(head)) else None
    if path.endswith(".tap"):
        return TestFormat.TAP if _TAP.search(_decoded(head)) else None
    return next((found for row in _objects(head) if (found := _of_line(row))), None)


def _decoded(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    return head.decode("utf-8-sig", "replace")


def _is_junit(text: str) -> bool:
    at = 0
    while found := _PROLOG.match(text, at) or (
        None if _JUNIT.match(text, at) else _DOCTYPE.match(text, at)
    ):
        at = found.end()
    return _JUNIT.match(text, at) is not None


def _objects(head: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects that are whole lines."""
    for line in head.split(b"\n")[:HEAD_LINES]:
        if line.lstrip().startswith(b"{"):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                yield row


def _of_line(row: dict[str, Any]) -> TestFormat | None:
    if isinstance(row.get("Action"), str) and {"Package", "ImportPath"} & row.keys():
        return TestFormat.GO
    if isinstance(row.get("reason"), str) or (
        row.get("type") in {"suite", "test"} and isinstance(row.get("event"), str)
    ):
        return TestFormat.CARGO
    return None
