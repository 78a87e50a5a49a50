"""What Nix says with `--log-format internal-json`, a line at a time.

Activities are numbered; an activity of type 105 is one build. Types are those of Nix's
src/libutil/logging.hh.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

BUILDS_ACTIVITY = 104
BUILD_ACTIVITY = 105
PROGRESS = 105
BUILD_LOG_LINE = 101
POST_BUILD_LOG_LINE = 107
ERROR_LEVEL = 0
WARNING_LEVEL = 1

_PREFIX = b"@nix "
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Started:
    """An activity began; `subject` is its derivation or store path, if it has one."""

    id: int
    type: int
    subject: str


@dataclass(frozen=True)
class Stopped:
    """An activity ended."""

    id: int


@dataclass(frozen=True)
class LogLine:
    """A line that a builder printed."""

    id: int
    text: str


@dataclass(frozen=True)
class Progress:
    """How many of an activity's parts are done, and how many failed."""

    id: int
    done: int
    failed: int


@dataclass(frozen=True)
class Message:
    """Something Nix says itself; `raw` is an error without its trace.

    `place` is FILE:LINE:COLUMN where Nix knows it, else empty.
    """

    level: int
    text: str
    raw: str
    place: str = ""


NixEvent = Started | Stopped | LogLine | Progress | Message


def parse_line(line: bytes) -> NixEvent | None:
    """Read one line of Nix's stderr; None for what is of no concern here."""
    if line.startswith(_PREFIX):
        try:
            return _parse_values(json.loads(line[len(_PREFIX) :]))
        except (ValueError, LookupError, TypeError, AttributeError):
            # Cut short, or of a shape that some other version of Nix gives it.
            return None
    text = _plain(line.decode("utf-8", "replace").rstrip())
    return Message(level=ERROR_LEVEL, text=text, raw=text) if text else None


def _parse_values(values: dict[str, Any]) -> NixEvent | None:
    match values.get("action"):
        case "start":
            return Started(values["id"], values.get("type", 0), _subject(values))
        case "stop":
            return Stopped(values["id"])
        case "result" if values.get("type") in {BUILD_LOG_LINE, POST_BUILD_LOG_LINE}:
            return LogLine(values["id"], _plain(str(values["fields"][0])))
        case "result" if values.get("type") == PROGRESS:
            done, _expected, _running, failed = values["fields"]
            return Progress(values["id"], done, failed)
        case "msg":
            text = str(values.get("msg", ""))
            raw = str(values.get("raw_msg", text))
            level = values.get("level", WARNING_LEVEL)
            return Message(level, _plain(text), _plain(raw), _place(values))
    return None


def _place(values: dict[str, Any]) -> str:
    file, position = values.get("file"), f":{values.get('line')}:{values.get('column')}"
    if not file or not values.get("line"):
        return ""
    # Some versions of Nix have the position in `file` already.
    return f"{_plain(str(file)).removesuffix(position)}{position}"


def _subject(values: dict[str, Any]) -> str:
    fields = values.get("fields") or [""]
    return str(fields[0])


def _plain(text: str) -> str:
    return _COLOUR.sub("", text)
