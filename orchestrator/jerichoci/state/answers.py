"""What took a while to find out, kept in a directory by a key of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.state import atomic
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from pathlib import Path

MOST_ANSWERS = 400
"""That are kept; those that were used last."""


@dataclass(frozen=True)
class Answers:
    """The answers in a directory. One that can't be kept, or is damaged, is found out again."""

    directory: Path

    def find(self, key: str) -> bytes | None:
        """The answer of a key."""
        file = self.directory / key
        try:
            digest, _, answer = file.read_bytes().partition(b"\n")
            os.utime(file)
        except OSError:
            return None
        return answer if digest == _digest(answer).encode() else None

    def keep(self, key: str, answer: bytes) -> None:
        """Keep the answer of a key."""
        with suppress(OSError):
            self.directory.mkdir(mode=0o700, exist_ok=True)
            content = _digest(answer).encode() + b"\n" + answer
            atomic.write_bytes(self.directory / key, content)
            self._forget()

    def _forget(self) -> None:
        with os.scandir(self.directory) as files:
            used = {file.path: file.stat().st_mtime_ns for file in files}
        for path in sorted(used, key=lambda path: used[path])[:-MOST_ANSWERS]:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - a path of scandir's


def key_of(*parts: object) -> str:
    """The key of JSON values: a name for a file."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return _digest(text.encode("utf-8", "surrogatepass"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
