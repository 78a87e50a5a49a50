"""Hiding secrets in what a job prints, before it reaches a disk.

Run as a program it copies standard input to standard output; the secrets are in the file of the
descriptor that is its argument, one a line, in base64. It is the pump of a job's log, here and in
guests, so it is one file that needs nothing but Python's own library.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from urllib.parse import quote, quote_plus

HIDDEN = b"***"
SHORTEST = 4
"""Bytes; what is shorter is in too many words to be hidden."""
CHUNK_BYTES = 1024 * 1024
HEAD = 4


def forms(value: bytes) -> set[bytes]:
    """What gives a secret away: it, its lines, both in base64 at each alignment and in URLs."""
    found = set()
    for text in {value.strip(), *(line.strip() for line in value.splitlines())}:
        if len(text) < SHORTEST:
            continue
        found.add(text)
        found.add(quote(text, safe="").encode())
        found.add(quote_plus(text).encode())
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + text)
            # The first letters depend on what is before it, the last on what is behind.
            first = (0, 2, 3)[shift]
            last = len(encoded) - (0, 3, 2)[(shift + len(text)) % 3]
            found |= {encoded[first:last], encoded[first:last].translate(_URL_SAFE)}
            if shift == 0:
                found.add(encoded.rstrip(b"="))
    return {form for form in found if len(form) >= SHORTEST}


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Redactor:
    """Takes bytes in pieces and returns them with the secrets hidden, as soon as it can."""

    def __init__(self, secrets: list[bytes]) -> None:
        words = {form for secret in secrets for form in forms(secret)}
        self._words = sorted(words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._words)) or b"(?!)")
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is settled by now; what may be the beginning of a secret is kept back."""
        data = self._rest + data
        settled = len(data) - max((_begun(data, word) for word in self._words), default=0)
        done, at = [], 0
        if any(word in data for word in self._words):
            for match in self._pattern.finditer(data):
                if match.start() >= settled:  # it may be the beginning of a longer one
                    break
                done += [data[at : match.start()], HIDDEN]
                at = match.end()
        settled = max(settled, at)
        self._rest = data[settled:]
        return b"".join([*done, data[at:settled]])

    def end(self) -> bytes:
        """What was kept back."""
        rest, self._rest = self._rest, b""
        return self._pattern.sub(HIDDEN, rest)


def _begun(data: bytes, word: bytes) -> int:
    """How many of the last bytes are the beginning of `word`, at most."""
    at = max(0, len(data) - len(word) + 1)
    head = word[:HEAD]
    while (at := data.find(head, at)) >= 0:
        if word.startswith(data[at:]):
            return len(data) - at
        at += 1
    for size in range(min(len(head), len(word), len(data) + 1) - 1, 0, -1):
        if data.endswith(word[:size]):
            return size
    return 0


def copy(source: int, target: int, secrets: list[bytes]) -> None:
    """Copy what can be read from one descriptor to another, with the secrets hidden."""
    redactor = Redactor(secrets)
    while data := os.read(source, CHUNK_BYTES):
        write(target, redactor.feed(data))
    write(target, redactor.end())


def write(target: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def main() -> None:
    """Be the pump of a log."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        secrets = [base64.b64decode(line) for line in file.read().splitlines()]
    copy(0, 1, secrets)


if __name__ == "__main__":
    main()
