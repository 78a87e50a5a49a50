"""The lines of a report; one that is too long is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.test_reports.case import Check

LINE_BYTES = 1024 * 1024
"""Longer than an event of go or cargo with what a test printed."""
CHECKED_LINES, CHECKED_BYTES = 1000, 1024 * 1024
"""No more than that between two looks at the clock: some milliseconds."""


def lines(file: BinaryIO, check: Check) -> Iterator[str]:
    """Each line without its end."""
    count, size, is_cut = 0, 0, False
    while data := file.readline(LINE_BYTES):
        count, size = count + 1, size + len(data)
        if count == CHECKED_LINES or size >= CHECKED_BYTES:
            count = size = 0
            check()
        was_cut, is_cut = is_cut, not data.endswith(b"\n")
        if not was_cut and (not is_cut or len(data) < LINE_BYTES):
            yield data.decode("utf-8", "replace").rstrip("\r\n")


def json_object(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; None if it is none."""
    if not line.startswith("{"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def text(row: dict[str, Any], key: str) -> str:
    """A text of an object; empty if it has none there."""
    value = row.get(key)
    return value if isinstance(value, str) else ""
