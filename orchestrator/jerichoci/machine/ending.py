"""How a program ended: by itself, by a signal, or not as a job at all; and that in words."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import replace
from typing import IO

from jerichoci.state.dataclass import dataclass

SIGNALLED = 128
"""A shell's status of what signal n ended is this and n."""
REPORT_BYTES = 1024
_TIME = re.compile(rb"^(started|ended) ([0-9.]+) ?(\d*)$", re.MULTILINE)


@dataclass(frozen=True)
class Ending:
    """An exit code (128 and the signal's number after a signal), and what is known beside it."""

    exit_code: int
    signal: int | None = None
    """What ended it, if that was a signal and no exit with a code that looks like one."""
    started: bool = True
    """Whether a job's command was started; if not, its workspace could not be set up."""
    out_of_memory: bool = False
    """Whether the kernel killed something of it at the limit of its memory."""
    refused_processes: bool = False
    """Whether the kernel refused it a process at the limit of their number."""

    @classmethod
    def of(cls, code: int) -> Ending:
        """That of a process with this code, which is a signal's if it is below zero."""
        return cls(code) if code >= 0 else cls(SIGNALLED - code, -code)


class Report:
    """What a job's first process tells of it, in a file without a name: no job can touch it."""

    def __init__(self) -> None:
        self.file: IO[bytes] = _nameless_file()
        self._asleep_before = _asleep_secs()

    def ending(self, status: int) -> Ending:
        """How the job ended whose first process ended with this status of `waitpid`."""
        times = self._times()
        if b"started" not in times:
            return replace(Ending.of(os.waitstatus_to_exitcode(status)), started=False)
        if b"ended" not in times:
            # The first process itself was killed.
            return Ending.of(-signal.SIGKILL)
        return Ending.of(os.waitstatus_to_exitcode(int(times[b"ended"][1])))

    def has_started(self) -> bool:
        """Whether the job's command is being started, or was."""
        return b"started" in self._times()

    def lived_within(self, secs: float) -> bool:
        """Whether the job has ended and took no longer, but for the time the machine slept."""
        times = self._times()
        if b"ended" not in times:
            return False
        lived = float(times[b"ended"][0]) - float(times[b"started"][0])
        return lived - (_asleep_secs() - self._asleep_before) <= secs

    def close(self) -> None:
        self.file.close()

    def _times(self) -> dict[bytes, tuple[bytes, bytes]]:
        """By what happened, the seconds since the boot, and a status of `waitpid`."""
        text = os.pread(self.file.fileno(), REPORT_BYTES, 0)
        return {what: (when, status) for what, when, status in _TIME.findall(text)}


def _nameless_file() -> IO[bytes]:
    if sys.platform == "linux":  # no full disk is in its way, and nothing in it can be taken away
        fd = os.memfd_create("pikaci-report", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return os.fdopen(fd, "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _asleep_secs() -> float:
    """For how long the machine has slept since its boot; 0 where its clock stands still then."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def in_words(exit_code: int | None, number: int | None = None) -> str:
    """What became of a command that ended so, after its name; a code below zero is a signal's."""
    if exit_code is not None and exit_code < 0:
        number = -exit_code
    if number is not None:
        return f"was killed by {_name(number) or f'signal {number}'}"
    if exit_code is not None and exit_code > SIGNALLED and _name(exit_code - SIGNALLED):
        number = exit_code - SIGNALLED
        return f"exited with {exit_code} ({SIGNALLED} + {number}: {_name(number)})"
    return f"exited with {exit_code}"


def _name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
