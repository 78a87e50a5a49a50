"""The lines of a log that tell why something failed: those that name an error, and the last.

They are chosen by their words. What failed is never decided by them.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from jerichoci.plan.model import Model
from pikaci.screen import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST, LAST_TELLING, LAST = 6, 6, 8
"""How many lines are chosen: the first and the last that name an error, and the last of all."""
LONGEST = 500
"""Characters of a line."""
_TELLS = re.compile(
    rb"\b(?:error|errors|fail|fails|failed|failure|failures|fatal|panic|panicked|exception|traceback"
    rb"|assert|assertion|assertionerror|segfault|segmentation fault|undefined reference|killed"
    rb"|not ok|no such file|not found|permission denied|out of memory)\b|[a-z]error\b|\^E  ",
    re.IGNORECASE,
)
_TELLS_NOT = re.compile(rb"\b(?:0|no) (?:errors?|fail(?:ed|ures?))\b", re.IGNORECASE)


class Line(Model):
    """A line of a log: its number in what `pikaci logs RUN --job JOB` prints, without controls."""

    number: int
    text: str


class Telling(Model):
    """The chosen lines of `total` that a job or a prepare printed."""

    total: int = 0
    lines: list[Line] = []


def choose(numbered: Iterable[tuple[int, bytes]]) -> Telling:
    """Choose from lines and their numbers; only what is chosen is kept."""
    first: list[tuple[int, bytes]] = []
    last_telling: deque[tuple[int, bytes]] = deque(maxlen=LAST_TELLING)
    last: deque[tuple[int, bytes]] = deque(maxlen=LAST)
    total = 0
    for row in numbered:
        total += 1
        last.append(row)
        if _TELLS.search(row[1]) and not _TELLS_NOT.search(row[1]):
            (first if len(first) < FIRST else last_telling).append(row)
    chosen = dict([*first, *last_telling, *last])
    found = [Line(number=number, text=_text(chosen[number])) for number in sorted(chosen)]
    return Telling(total=total, lines=found)


def _text(line: bytes) -> str:
    text = shown(line.decode("utf-8", "replace"))
    more = len(text) - LONGEST
    return f"{text[:LONGEST]} ... {more} more characters" if more > 0 else text
