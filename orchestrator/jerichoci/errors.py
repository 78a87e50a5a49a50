"""The exceptions of engine and frontend, and the exit code each asks for.

    PikaciError                      anything a caller may want to catch
    ├── UsageError            2      what was asked for can't be: arguments, ids, a catalog, a plan
    │   ├── CatalogError      2      the flake, the catalog or the lanes file is wrong
    │   └── RecordError       2      a record can't be read
    ├── ServiceError          1      a service of a job failed; the user's, as its jobs are
    ├── InfrastructureError   75     the machine, Nix, git or the disk failed; not the user's code
    │   ├── DiskFullError     75     a disk is full
    │   └── HostUnavailableError 75  a host that may come back can't be reached, or was lost
    └── TimedOutError         124    a limit of time or size ended it

`message` is one sentence that says what is wrong; `hint` says what to do. Neither ends a traceback
on a terminal: the CLI prints both on stderr and exits with `exit_code`.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from jerichoci.exit_codes import (
    EXIT_INFRASTRUCTURE,
    EXIT_TEST_FAILURE,
    EXIT_TIMEOUT,
    EXIT_USAGE,
)

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class PikaciError(Exception):
    """An error with a sentence for the person who caused or met it."""

    exit_code: ClassVar[int] = EXIT_INFRASTRUCTURE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(PikaciError):
    """What was asked for can't be done as asked."""

    exit_code = EXIT_USAGE


class CatalogError(UsageError):
    """The flake, its catalog or the lanes file is wrong."""


class RecordError(UsageError):
    """A record under the state root can't be read."""


class ServiceError(PikaciError):
    """A service that a job has beside it failed before the job began."""

    exit_code = EXIT_TEST_FAILURE


class InfrastructureError(PikaciError):
    """The machine or a tool failed, not what the user wrote."""

    exit_code = EXIT_INFRASTRUCTURE


class DiskFullError(InfrastructureError):
    """A disk is full, or what we may have of it."""


class HostUnavailableError(InfrastructureError):
    """A host that may come back can't be reached, or was lost."""


class TimedOutError(PikaciError):
    """A limit of time, or of what a builder may print, ended what was asked for."""

    exit_code = EXIT_TIMEOUT


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error is that of a full disk, or follows from one."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return isinstance(error, DiskFullError) or (
        isinstance(error, InfrastructureError) and is_disk_full(error.__cause__)
    )
