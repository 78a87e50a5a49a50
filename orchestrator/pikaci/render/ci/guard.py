"""What a CI server reads besides a `ServerLog`: no line of it is a command to the server.

An evaluation and an error may print what others wrote, and so may plain lines, where someone wants
these on a server.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from pikaci.render.ci.formats import LogFormat, chosen, markup

if TYPE_CHECKING:
    from typing import TextIO

    from pikaci.render.ci.markup import Markup


class _Guarded(io.TextIOBase):
    """Writes whole lines, none of which is a command to the server."""

    def __init__(self, stream: TextIO, words: Markup) -> None:
        super().__init__()
        self._stream = stream
        self._words = words
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override] # io has it as a variable
        """That of the stream."""
        return self._stream.encoding

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the lines that are complete."""
        *lines, self._line = (self._line + text).split("\n")
        self._stream.writelines(map(self._words.outside, lines))
        return len(text)

    def flush(self) -> None:
        """Write out what the stream holds."""
        self._stream.flush()


def shown_as(log_format: str) -> LogFormat:
    """How a run is shown with a `--log-format`."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return chosen(LogFormat(log_format), os.environ, is_terminal=is_terminal)


def guarding(log_format: str) -> Markup | None:
    """What keeps lines from being commands to the server that is here or was named."""
    here = chosen(LogFormat.AUTO, os.environ, is_terminal=False)
    return markup(shown_as(log_format)) or markup(here)


def guard_stderr(log_format: str) -> None:
    """Let no line on stderr be a command to a server, from now on until the process ends."""
    if words := guarding(log_format):
        sys.stderr = _Guarded(sys.stderr, words)
