"""Nix's output with `--log-format internal-json`, a line at a time.

Activities are numbered; an activity of type 105 is one build. Types are those of Nix's
src/libutil/logging.hh.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jerichoci.state.credentials import without_credentials
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

BUILDS_ACTIVITY = 104
BUILD_ACTIVITY = 105
SUBSTITUTE_ACTIVITY = 108
PROGRESS = 105
BUILD_LOG_LINE = 101
POST_BUILD_LOG_LINE = 107
ERROR_LEVEL = 0
WARNING_LEVEL = 1

LONGEST_LINE = 1024 * 1024
"""Bytes of a line that are read whole: Nix puts an error with its trace into one."""
SENTENCE_LINES = 5
CUT_LINE = 32 * 1024
"""Bytes that are left of a longer one: with its mark and the id before it, one line of a log."""

_PREFIX = b"@nix "
_BLANK_LINE = re.compile(r"\n\s*\n")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STORE_NAME = re.compile(r"/([0-9a-z]{32}-[\w+.?=-]+)", re.ASCII)
_GOT_HASH = re.compile(
    r"^\s*got:\s+((?:md5|sha1|sha256|sha512|blake3)-[A-Za-z0-9+/]+=*)$", re.MULTILINE
)
_LOG_LINES = re.compile(
    r";?\n *last \d+ log lines:\n(?: *>.*\n?)*(?: *For full logs, run:\n.*)?", re.IGNORECASE
)
"""What a daemon adds to an error: the builder's last lines, which were shown before."""
_BROKEN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
_LOG_LINE_END, _MESSAGE_END = '"],"id":', '"}'


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
    """How many of an activity's parts are done, go on, and failed, of how many."""

    id: int
    done: int
    running: int
    failed: int
    expected: int = 0


@dataclass(frozen=True)
class Message:
    """A message of Nix itself; `raw` is an error without its trace.

    `place` is FILE:LINE:COLUMN where Nix knows it, else empty.
    """

    level: int
    text: str
    raw: str
    place: str = ""

    @property
    def for_people(self) -> str:
        """It as it is for people, without the builder's last lines."""
        return _LOG_LINES.sub("", self.text)

    @cached_property
    def reason(self) -> str:
        """Nix's own words in it."""
        return _LOG_LINES.sub("", self.raw).removeprefix("error: ")

    @cached_property
    def named(self) -> frozenset[str]:
        """The store paths in it, without their directory."""
        return frozenset(name.rstrip(".") for name in _STORE_NAME.findall(self.reason))

    @property
    def is_warning(self) -> bool:
        """Whether it is one; Nix prints some as errors."""
        return self.level == WARNING_LEVEL or self.text.startswith("warning: ")

    @property
    def got_hash(self) -> str | None:
        """The hash that a fixed output has, where another one was specified."""
        found = _GOT_HASH.search(self.reason)
        return found[1] if found else None

    @property
    def sentence(self) -> str:
        """The message in one line: its first paragraph, or of a long one the first lines.

        Nix 2.34 says "Cannot build X." and, in the next lines, "Reason:" and what else there is.
        """
        lines = [" ".join(line.split()) for line in self.reason.splitlines() if line.strip()]
        if len(lines) > 1 and lines[1].startswith("Reason: "):
            reasons = [lines[1].removeprefix("Reason: "), *lines[2:]]
            ends = [place for place, line in enumerate(reasons) if line == "Output paths:"]
            reason = "; ".join(reasons[: ends[0] if ends else None]).rstrip(".")
            return f"{lines[0].rstrip('.')}: {reason}"
        goes_on = bool(lines) and lines[0].endswith((":", ";"))
        paragraph = len(_BLANK_LINE.split(self.reason.strip())[0].splitlines())
        said = " ".join(lines[: max(3 if goes_on else 1, min(paragraph, SENTENCE_LINES))])
        return said + (" ..." if paragraph > SENTENCE_LINES else "") or "Nix gave no reason"


NixEvent = Started | Stopped | LogLine | Progress | Message


def parse_line(line: bytes) -> NixEvent | None:
    """Read one line of Nix's stderr; None for what is of no concern here."""
    if line.startswith(_PREFIX):
        try:
            return _parse_values(json.loads(line[len(_PREFIX) :]))
        except (ValueError, LookupError, TypeError, AttributeError):
            # Cut short, or of a shape that some other version of Nix gives it.
            return None
    text = _message(line.decode("utf-8", "replace").rstrip())
    level = WARNING_LEVEL if text.startswith("warning: ") else ERROR_LEVEL
    return Message(level=level, text=text, raw=text) if text else None


async def read_lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of Nix's stderr; of one that is too long what it begins and ends with."""
    head, end, length = bytearray(), b"", 0
    while data := await stream.read(LONGEST_LINE):
        for number, part in enumerate(data.split(b"\n")):
            if number:
                yield _whole(bytes(head), end, length)
                head, end, length = bytearray(), b"", 0
            room = LONGEST_LINE - len(head)
            head += part[:room]
            end = (end + part[room:])[-CUT_LINE:]
            length += len(part)
    if length:
        yield _whole(bytes(head), end, length)


def _whole(head: bytes, end: bytes, length: int) -> bytes:
    return head if length <= len(head) else cut_line(head[:CUT_LINE], head + end, length)


def cut_line(head: bytes, end: bytes, length: int) -> bytes:
    """A line of `length` bytes, cut to its beginning and its end, with the length in it.

    JSON stays JSON: what names a builder's line comes after its text.
    """
    text = head.decode("utf-8", "ignore")
    mark = f" ... [cut: this line has {length} bytes]"
    if not head.startswith(_PREFIX):
        return f"{text}{mark}".encode()
    if broken := _BROKEN_ESCAPE.search(text):
        text = text[: broken.start(1)]
    rest = end[-CUT_LINE:].decode("utf-8", "ignore")
    place = rest.rfind(_LOG_LINE_END)
    return f"{text}{mark}{rest[place:] if place >= 0 else _MESSAGE_END}".encode()


def _cut(text: str) -> str:
    """A builder's line, cut if it is too long: not all that reads Nix's output does that."""
    if len(text) <= LONGEST_LINE:
        return text
    data = text.encode()
    return cut_line(data[:CUT_LINE], b"", len(data)).decode()


def _parse_values(values: dict[str, Any]) -> NixEvent | None:
    match values.get("action"):
        case "start":
            return Started(values["id"], values.get("type", 0), _subject(values))
        case "stop":
            return Stopped(values["id"])
        case "result" if values.get("type") in {BUILD_LOG_LINE, POST_BUILD_LOG_LINE}:
            return LogLine(values["id"], _cut(_plain(str(values["fields"][0]))))
        case "result" if values.get("type") == PROGRESS:
            done, expected, running, failed = values["fields"]
            return Progress(values["id"], done, running, failed, expected)
        case "msg":
            text = str(values.get("msg", ""))
            raw = str(values.get("raw_msg", text))
            level = values.get("level", WARNING_LEVEL)
            return Message(level, _message(text), _message(raw), _place(values))
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


def _message(text: str) -> str:
    return without_credentials(_plain(text))


def _plain(text: str) -> str:
    return _COLOUR.sub("", text)
