"""flock'd files and directories: what one process does, every other one waits for.

A lock belongs to an open file description, so it is released when the process dies, and two tasks
of one process exclude each other too. Descriptors are close-on-exec: no child inherits a lock. The
holder of a lock may remove the file; a process that waited for it meanwhile looks again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

POLL_SECS = 0.01
"""Between two attempts at a lock that another process holds."""
_UNKNOWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})
"""Errors of this machine, which say nothing about the lock."""


def try_flock(fd: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock what a descriptor has open, until it is closed; False if that can't be done now."""
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, operation if wait else operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold the lock of `path`, created if missing; yields False if it can't be had now."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield try_flock(fd, shared=shared) and _is_still(fd, path)
    finally:
        os.close(fd)


@contextmanager
def lock_directory(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a directory; yields False if it can't be had now, unless `wait`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield try_flock(fd, shared=shared, wait=wait)
    finally:
        os.close(fd)


@asynccontextmanager
async def lock(path: Path, deadline_secs: float, *, shared: bool = False) -> AsyncIterator[None]:
    """Hold the lock of `path`, waiting for it without blocking the loop."""
    import asyncio

    clock = asyncio.get_running_loop().time
    end = clock() + deadline_secs
    while True:
        with try_lock(path, shared=shared) as held:
            if held:
                yield
                return
        if clock() > end:
            raise InfrastructureError(
                f"{path} was locked by another process for {deadline_secs:g} s",
                "end the process that holds it; `fuser` shows which",
            )
        await asyncio.sleep(POLL_SECS)


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the lock of a file; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return True
    except OSError as error:
        if error.errno in _UNKNOWN:
            raise
        return False
    try:
        return not try_flock(fd, shared=True)
    finally:
        os.close(fd)


def _is_still(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
