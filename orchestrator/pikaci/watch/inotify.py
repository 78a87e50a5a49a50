"""Notices from Linux's inotify.

The libraries for it watch all directories below a root, those that git ignores included, and some
follow links out of it, as to the Nix store: a tree of a few files could need all of a user's
watches. Here the directories are chosen one by one, and names are any bytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pikaci.watch.notice import Kind, Notice, TooManyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
UNMOUNT, Q_OVERFLOW, IGNORED, ISDIR = 0x2000, 0x4000, 0x8000, 0x40000000
ONLYDIR, DONT_FOLLOW, EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
MASK = (
    *(MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF),
    *(ONLYDIR, DONT_FOLLOW, EXCL_UNLINK),
)
HEAD = struct.Struct("iIII")
"""An event: the watch, what happened, a cookie, the length of the name that follows."""
READ_BYTES = 256 * 1024
LIMITS = Path("/proc/sys/fs/inotify")


class Inotify:
    """Notices about directories below `root`, from the kernel."""

    def __init__(self, root: str) -> None:
        import ctypes

        self._root = root
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._fd = -1
        self._names: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._ready = asyncio.Event()

    def watch(self, directories: Iterable[str]) -> None:
        """Watch more directories."""
        if self._fd < 0:
            self._open()
        for name in directories:
            path = os.fsencode(f"{self._root}/{name}")
            watch = self._libc.inotify_add_watch(self._fd, path, sum(MASK))
            if watch >= 0:
                self._names[watch] = name
                self._watches[name] = watch
            elif self._errno() == errno.ENOSPC:
                raise TooManyError(_limit("max_user_watches"))
            elif self._errno() not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP}:
                raise OSError(self._errno(), os.strerror(self._errno()), os.fsdecode(path))

    def _open(self) -> None:
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            if self._errno() == errno.EMFILE:
                raise TooManyError(_limit("max_user_instances"))
            raise OSError(self._errno(), os.strerror(self._errno()))
        asyncio.get_running_loop().add_reader(self._fd, self._ready.set)

    async def get(self) -> list[Notice]:
        """Wait for notices."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if found := list(self._read()):
                return found

    def close(self) -> None:
        """End watching."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Iterator[Notice]:
        while True:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, mask, _, length = HEAD.unpack_from(data, offset)
                offset += HEAD.size + length
                name = os.fsdecode(data[offset - length : offset].rstrip(b"\0"))
                yield from self._notices(watch, mask, name)

    def _notices(self, watch: int, mask: int, name: str) -> Iterator[Notice]:
        directory = self._names.get(watch)
        if mask & Q_OVERFLOW:
            yield Notice(Kind.LOST)
        elif directory is None:
            return
        elif mask & IGNORED:
            del self._names[watch]
            if self._watches.get(directory) == watch:
                del self._watches[directory]
        elif name:
            yield self._about(f"{directory}/{name}".lstrip("/"), mask)
        elif not directory and mask & (DELETE_SELF | MOVE_SELF | UNMOUNT):
            # Of other directories, the one above tells.
            yield Notice(Kind.GONE)

    def _about(self, path: str, mask: int) -> Notice:
        if mask & ISDIR and mask & (CREATE | MOVED_TO):
            return Notice(Kind.DIRECTORY, path)
        if mask & ISDIR and mask & (DELETE | MOVED_FROM):
            self._forget(path)
            return Notice(Kind.GONE, path)
        return Notice(Kind.CHANGED, path)

    def _forget(self, directory: str) -> None:
        """Watch no more what was renamed: its watches would tell of it by its old name."""
        for name in [each for each in self._watches if f"{each}/".startswith(f"{directory}/")]:
            self._libc.inotify_rm_watch(self._fd, self._watches.pop(name))


def _limit(setting: str) -> str:
    try:
        now = f", now {(LIMITS / setting).read_text(encoding='ascii').strip()}"
    except OSError:
        now = ""
    return f"sysctl fs.inotify.{setting}{now}"
