"""A command on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

DEADLINE_SECS = 30.0
"""For the next thing to be shown."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class TerminalSession:
    """A process whose stdin, stdout and stderr are a terminal of 200 columns."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *argv],
            cwd=cwd, env={**env, "TERM": "xterm"}, stdin=far, stdout=far, stderr=far,
            start_new_session=True,
        )  # fmt: skip
        os.close(far)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._near)

    @property
    def text(self) -> str:
        """All that was shown so far, without control sequences."""
        return CONTROL.sub("", self.raw)

    def type(self, text: str) -> None:
        os.write(self._near, text.encode())

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + DEADLINE_SECS
        while text not in self.text:
            assert time.monotonic() < end, self.text
            assert self._read() or text in self.text, self.text

    def wait(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_SECS)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._near], [], [], DEADLINE_SECS)
        assert ready, self.text
        try:
            data = os.read(self._near, 65536)
        except OSError:
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)
