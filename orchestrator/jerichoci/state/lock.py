"""flock'd files: what one process does, every other one waits for.

A lock belongs to an open file description, so it goes with the process that dies, and two tasks of
one process exclude each other too. Descriptors are close-on-exec: no child inherits a lock. A lock
file may be removed by whoever holds it; who waited for it meanwhile looks again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

POLL_SECS = 0.01
"""Between two looks at a lock that another one holds."""


@contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold the lock of `path`, created if it isn't there; yields False if it can't be had now.

    Raises:
        OSError: the file can't be opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX) and _is_still(fd, path)
    finally:
        os.close(fd)


@asynccontextmanager
async def lock(path: Path, deadline_secs: float, *, shared: bool = False) -> AsyncIterator[None]:
    """Hold the lock of `path`, waiting for it without blocking the loop.

    Raises:
        InfrastructureError: it isn't free after `deadline_secs`.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline_secs
    while True:
        with try_lock(path, shared=shared) as held:
            if held:
                yield
                return
        if clock() > end:
            raise InfrastructureError(
                f"{path} stayed locked by another process for {deadline_secs:g} s",
                "end the process that holds it; `fuser` tells which",
            )
        await asyncio.sleep(POLL_SECS)


def _flock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
