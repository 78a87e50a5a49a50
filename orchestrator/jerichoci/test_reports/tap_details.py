"""What follows a point of TAP: a block of YAML, or comments."""

from __future__ import annotations

import json
import re
from dataclasses import field
from textwrap import dedent

from jerichoci.state.dataclass import dataclass
from jerichoci.test_reports.case import milliseconds

KEPT_CHARS = 4096
"""Of the comments, and of a value in YAML."""
MOST_KEYS = 50
_PAIR = re.compile(r"([\w-]+):(?:\s+(.*))?$")
_BLOCK = re.compile(r"[|>][+-]?\d?$")
_PLACE = re.compile(r"(?:file://)?(.{1,1000}?):(\d{1,9})(?::\d{1,9})?$")
_IN_COMMENTS = re.compile(
    r"^[ ]*(?:at (\S.{0,300}) line (\d{1,9})\.|\(in test file (.{1,300}), line (\d{1,9})\))$",
    re.MULTILINE,
)


@dataclass
class Details:
    """What is said of one point."""

    values: dict[str, str] = field(default_factory=dict)
    notes: str = ""

    def note(self, text: str) -> None:
        """Add a comment."""
        if len(self.notes) < KEPT_CHARS:
            self.notes += text[:KEPT_CHARS] + "\n"

    @property
    def message(self) -> str | None:
        """Why it failed."""
        said = (self.values.get(key) for key in ("error", "message"))
        return next(filter(None, said), None) or dedent(self.notes).strip() or None

    @property
    def place(self) -> tuple[str | None, str | None]:
        """The file and line of the failure."""
        if "file" in self.values and "line" in self.values:
            return self.values["file"], self.values["line"]
        if found := _PLACE.match(self.values.get("location") or self.values.get("at") or ""):
            return found[1], found[2]
        if found := _IN_COMMENTS.search(self.notes):
            return found[1] or found[3], found[2] or found[4]
        return None, None

    @property
    def duration_ms(self) -> int | None:
        """How long it took."""
        took = milliseconds(self.values.get("duration_ms"))
        return None if took is None else round(took / 1000)


class Yaml:
    """A block of YAML, of which pairs and block scalars at its top are read, and those of `at`."""

    def __init__(self, indent: int, into: Details) -> None:
        self._indent = indent
        self._values = into.values
        self._key = ""
        self._in_block = False

    def take(self, line: str) -> bool:
        """Take a line; false if the block is over, and the line none of its own."""
        text = line.lstrip(" ")
        width = len(line) - len(text) - self._indent
        if width < 0 and text:
            return False
        if width <= 0 and text:
            self._in_block = False
            if text.rstrip() == "...":
                self._indent = len(line) + 1  # nothing more is its own
                return True
            self._pair(text)
        elif self._in_block:
            self._add(line[self._indent + 2 :])
        elif self._key == "at":
            self._pair(text, within="at")
        return True

    def _pair(self, text: str, within: str = "") -> None:
        if not (found := _PAIR.match(text)):
            return
        value = (found[2] or "").strip()
        if not within:
            self._key = found[1]
            self._in_block = bool(_BLOCK.match(value))
            value = "" if self._in_block else value
        if len(self._values) < MOST_KEYS:
            self._values.setdefault(found[1], _unquoted(value)[:KEPT_CHARS])

    def _add(self, line: str) -> None:
        value = self._values.get(self._key, "")
        if len(value) < KEPT_CHARS:
            self._values[self._key] = f"{value}\n{line[:KEPT_CHARS]}".lstrip("\n")


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value[1:-1]
    return value
