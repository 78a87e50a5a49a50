"""A test as a reader has it, texts still as the report has them; what ends the reading of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from jerichoci.status import TestStatus


@dataclass(slots=True)
class Case:
    """One test."""

    name: str
    suite: str
    status: TestStatus
    duration_ms: int | None = None
    file: str | None = None
    line: int | None = None
    message: str | None = None


Check = Callable[[], None]
"""Raises UnreadableError once the time is up; called for every piece that is read."""
Reader = Callable[[BinaryIO, Check], Iterator[Case]]
"""Yields the tests of a report; raises UnreadableError where it can't be read on."""


class UnreadableError(Exception):
    """Why a report was not read to its end, as a sentence without its name."""


MOST_DURATION_SECS = 10 * 366 * 86400
"""No test takes longer; what says so is no duration."""
MOST_DIGITS = 40
MOST_LINE = 2**31 - 1


def milliseconds(seconds: object) -> int | None:
    """A duration in seconds, as a number or a text; None if it is none."""
    if not isinstance(seconds, int | float | str) or isinstance(seconds, bool):
        return None
    if isinstance(seconds, str) and len(seconds) > MOST_DIGITS:
        return None
    try:
        value = float(seconds.replace(",", "") if isinstance(seconds, str) else seconds)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(value) or not 0 <= value <= MOST_DURATION_SECS:
        return None
    return round(value * 1000)


def line_number(value: object) -> int | None:
    """The number of a line, counted from 1; None if it is none."""
    try:
        number = int(value) if isinstance(value, int | str) else 0
    except ValueError:
        return None
    return number if 0 < number <= MOST_LINE else None
