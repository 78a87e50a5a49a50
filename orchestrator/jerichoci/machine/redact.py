"""Takes secrets out of what a job prints, before it reaches a disk.

As a program it copies stdin to stdout; its argument is the number of a descriptor with the secrets:
a line each, in base64. Each piece of output that gives a secret away becomes `***`: the value, its
lines if it has several, its base64 wherever in other data it stands, and how it is written in a URL
and in JSON. What is printed is held back only while it may be the beginning of a secret.

It is brought to guests as it is, so this file imports nothing of this project.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MARK = b"***"
LEAST_BYTES = 4
"""A shorter text is in every log by chance."""
CHUNK_BYTES = 1 << 20
SHIFTS = 3
"""Bytes before a value decide how its base64 is written, by their number modulo 3."""
WRAPS = 64, 76
"""Characters in a line of base64, as OpenSSL and coreutils write it."""


def forms(secret: bytes) -> set[bytes]:
    """The texts that give a secret away, as far as they are known."""
    value = secret.strip(b"\r\n")
    lines = {line.strip(b"\r") for line in value.split(b"\n")}
    found = lines if len(lines) > 1 else {value}
    for whole in {secret, value}:
        text = base64.b64encode(whole)
        for width in WRAPS:
            found |= {text[at : at + width] for at in range(0, len(text), width)}
    for shift in range(SHIFTS):
        text = _base64(value, shift)
        found |= {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
    for part in {value} | lines:
        for written in (quote(part, safe=""), quote(part), quote_plus(part)):
            found |= {written.encode(), _with_low_hex(written).encode()}
        for quotes in (False, True):
            found.add(_as_xml(part, quotes=quotes))
        plain = part.decode("utf-8", "surrogateescape")
        for ascii_only in (True, False):
            quoted = json.dumps(plain, ensure_ascii=ascii_only)[1:-1]
            found.add(quoted.encode("utf-8", "surrogateescape"))
    return {form for form in found if len(form) >= LEAST_BYTES}


def _base64(value: bytes, shift: int) -> bytes:
    """The characters of its base64 that no byte beside it has a part in, after `shift` bytes."""
    encoded = base64.b64encode(bytes(shift) + value)
    first = -(-8 * shift // 6)
    return encoded[first : 8 * (shift + len(value)) // 6]


def _as_xml(value: bytes, *, quotes: bool) -> bytes:
    """How it is written in HTML and XML, by most programs."""
    value = value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return value.replace(b'"', b"&quot;") if quotes else value


def _with_low_hex(written: str) -> str:
    first, *others = written.split("%")
    return "%".join([first, *(other[:2].lower() + other[2:] for other in others)])


class Redactor:
    """Takes secrets out of a stream.

    What comes out does not depend on how the stream is cut: all occurrences of all forms are taken
    out, and those that overlap or touch become one mark.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        found = set().union(*map(forms, secrets))
        self._forms = sorted(found)
        self._longest = max(map(len, found), default=1)
        self._heads = {form[:LEAST_BYTES] for form in found}
        self._held = b""
        self._covered = 0
        """How many of the held bytes belong to a secret whose mark is written."""
        self._is_marked = False
        """Whether a mark was the last that was written."""

    def feed(self, data: bytes) -> bytes:
        """What may be written by now."""
        text = self._held + data if self._held else data
        return self._write(text, self._end_of_certain(text))

    def finish(self) -> bytes:
        """The rest."""
        rest = self._write(self._held, len(self._held))
        self._is_marked = False
        return rest

    def _write(self, text: bytes, end: int) -> bytes:
        """Redact what is before `end`, and hold the rest."""
        spans = self._spans(text)
        if not spans and not self._covered:
            self._held = text[end:]
            self._is_marked &= not end
            return text if end == len(text) else text[:end]
        pieces: list[bytes] = []
        at = self._covered
        for start, stop in spans:
            if start >= end:
                break
            if start > at:
                pieces.append(text[at:start])
                self._is_marked = False
            if not self._is_marked:
                pieces.append(MARK)
                self._is_marked = True
            at = max(at, stop)
        if at < end:
            pieces.append(text[at:end])
            self._is_marked = False
        self._covered = max(0, at - end)
        self._held = text[end:]
        return b"".join(pieces)

    def _spans(self, text: bytes) -> list[tuple[int, int]]:
        """Where the forms are, in order of their starts."""
        spans: list[tuple[int, int]] = []
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                spans.append((at, at + len(form)))
                at = text.find(form, at + 1)
        spans.sort()
        return spans

    def _end_of_certain(self, text: bytes) -> int:
        """The first place from which on all the text is the beginning of a form, and not all."""
        size = len(text)
        starts = []
        least = max(0, size - self._longest + 1)
        for head in self._heads:
            at = text.find(head, least)
            while at >= 0:
                if self._may_begin(text[at:]):
                    starts.append(at)
                    break
                at = text.find(head, at + 1)
        for at in range(max(0, size - LEAST_BYTES + 1), size):
            if self._may_begin(text[at:]):
                starts.append(at)
                break
        return min(starts, default=size)

    def _may_begin(self, rest: bytes) -> bool:
        return any(len(form) > len(rest) and form.startswith(rest) for form in self._forms)


def hiding(secrets: Iterable[bytes]) -> Callable[[str], str]:
    """What takes the secrets out of a text."""
    redactor = Redactor(secrets)

    def hide(text: str) -> str:
        data = redactor.feed(text.encode("utf-8", "surrogatepass")) + redactor.finish()
        return data.decode("utf-8", "surrogatepass")

    return hide


def copy(source: int, target: int, secrets: Iterable[bytes]) -> None:
    """Copy what can be read from one descriptor to another, without the secrets."""
    redactor = Redactor(secrets)
    while data := os.read(source, CHUNK_BYTES):
        _write(target, redactor.feed(data))
    _write(target, redactor.finish())


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def main(arguments: Sequence[str]) -> None:
    """Be the pump of a log, which ends when nothing can print any more."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(int(arguments[0]), "rb") as file:
        secrets = [base64.b64decode(line) for line in file]
    copy(0, 1, secrets)


if __name__ == "__main__":
    main(sys.argv[1:])
