"""Collecting what a job left, as from a stranger.

Directories are opened without following links, only regular files count, anything else is removed,
and modes are stripped: what a job made may be a FIFO, a device, a setuid file, or a link to a
secret. A file that has another name, perhaps far from here, is replaced by a copy, and the one with
that name keeps its mode. Trees may be of any depth and files may have holes of any size. What was
made immutable is read as it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.state.remove_tree import DIRECTORY_FLAGS, open_directory, own, unlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK_BYTES = 1024 * 1024
BLOCK_BYTES = 512
"""What `st_blocks` counts in."""
MODE = stat.S_IRUSR | stat.S_IWUSR
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
COPY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
UNOPENED = frozenset(
    {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EACCES, errno.EPERM}
)
"""What opening gives for what is no file any more, or can't be read by us."""
ZEROS = memoryview(bytes(CHUNK_BYTES))
"""What a hole is read as, chunk by chunk."""


def collect(directory: Path, cancelled: Callable[[], bool] | None = None) -> list[Artifact]:
    """Take stock of `directory`, sorted by path; blocking, so call it in a thread.

    `cancelled` is asked before each file and each chunk of one.

    Raises:
        OSError: the directory isn't one, or can't be read; with ECANCELED, it was cancelled.
    """
    taken = _Walk(cancelled or _never).all_below(directory)
    return sorted(taken, key=lambda artifact: artifact.path)


def names(directory: Path, cancelled: Callable[[], bool] | None = None) -> list[tuple[str, int]]:
    """Names below `directory` and sizes in bytes of the files to take; blocking.

    Bytes of names that aren't UTF-8 are surrogates. What is none to take is removed.

    Raises:
        OSError: as `collect`.
    """
    found = _Naming(cancelled or _never).all_below(directory)
    return [(artifact.path, artifact.bytes) for artifact in found]


def copy(source: int, into: Path, cancelled: Callable[[], bool] | None = None) -> list[Artifact]:
    """Copy what is below the open directory `source`, which somebody may be changing; blocking.

    `source` stays as it is. `into` is created. What can't be opened isn't taken.

    Raises:
        OSError: it can't be read or written; with ECANCELED, it was cancelled.
    """
    into.mkdir(mode=0o700)
    target = os.open(into, DIRECTORY_FLAGS)
    try:
        taken = _Copying(cancelled or _never, target).all_in(os.dup(source))
        return sorted(taken, key=lambda artifact: artifact.path)
    finally:
        os.close(target)


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Artifact:
    """A file that a job left: path below `artifacts/files`, size in bytes, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Level:
    """A directory on the way down: what it is called, which it is, what is still to be visited."""

    prefix: str
    identity: tuple[int, int]
    inner: list[str]


class _Walk:
    """A walk with one open directory, whatever the depth: up again is through `..`."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled

    def all_below(self, root: Path) -> Iterator[Artifact]:
        """Every file below `root`."""
        fd = os.open(root, DIRECTORY_FLAGS)
        try:
            own(fd, stat.S_IRWXU)
            levels = [_level(fd, "")]
            yield from self._files(fd, levels[-1])
            while levels:
                level = levels[-1]
                if level.inner:
                    name = level.inner.pop()
                    fd = _swap(fd, open_directory(name, fd))
                    levels.append(_level(fd, f"{level.prefix}{name}/"))
                    yield from self._files(fd, levels[-1])
                else:
                    levels.pop()
                    if levels:
                        fd = _swap(fd, _parent(fd, levels[-1]))
        finally:
            os.close(fd)

    def _files(self, directory: int, level: _Level) -> Iterator[Artifact]:
        with os.scandir(directory) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                level.inner.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                # What can't be touched at all, being immutable, is left where it is.
                with suppress(PermissionError):
                    taken = self._take(directory, entry.name, level.prefix)
                    if taken:
                        yield taken
            else:
                with suppress(PermissionError):
                    self._drop(entry.name, directory)

    def _drop(self, name: str, directory: int) -> None:
        os.unlink(name, dir_fd=directory)

    def _take(self, directory: int, name: str, prefix: str) -> Artifact | None:
        self._check()
        fd = _open_file(name, directory)
        if fd is None:
            os.unlink(name, dir_fd=directory)
            return None
        try:
            status = os.fstat(fd)
            if status.st_nlink > 1:
                digest = self._replace(fd, status, name, directory)
            else:
                own(fd, MODE)
                digest = self._digest(fd, status)
        finally:
            os.close(fd)
        return Artifact(path=spelled(f"{prefix}{name}"), bytes=status.st_size, sha256=digest)

    def _replace(self, fd: int, status: os.stat_result, name: str, directory: int) -> str:
        """Put a copy in the place of a file whose inode others use, too."""
        temp = f".pikaci-{os.urandom(8).hex()}"
        copy = os.open(temp, COPY_FLAGS, MODE, dir_fd=directory)
        try:
            os.fchmod(copy, MODE)
            digest = self._digest(fd, status, copy)
            os.rename(temp, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(temp, dir_fd=directory)
            raise
        finally:
            os.close(copy)
        return digest

    def _digest(self, fd: int, status: os.stat_result, copy: int | None = None) -> str:
        """The SHA-256 of a file, which is copied on the way if there is where to."""
        digest = hashlib.sha256()
        for offset, data in _chunks(fd, status):
            self._check()
            digest.update(data)
            if copy is not None and isinstance(data, bytes):
                _write(copy, data, offset)
        if copy is not None:
            os.ftruncate(copy, status.st_size)
        return digest.hexdigest()

    def _check(self) -> None:
        if self._cancelled():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


class _Naming(_Walk):
    """A walk that reads nothing."""

    def _take(self, directory: int, name: str, prefix: str) -> Artifact | None:
        self._check()
        fd = _open_file(name, directory)
        if fd is None:
            os.unlink(name, dir_fd=directory)
            return None
        try:
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        return Artifact(path=f"{prefix}{name}", bytes=size, sha256="")


class _Copying(_Walk):
    """A walk through what stays as it is, beside one through the copy that comes of it."""

    def __init__(self, cancelled: Callable[[], bool], target: int) -> None:
        super().__init__(cancelled)
        self._target = os.dup(target)

    def all_in(self, fd: int) -> Iterator[Artifact]:
        """Every file below the open directory `fd`, which is closed, as is the target."""
        try:
            levels = [_level(fd, "")]
            yield from self._files(fd, levels[-1])
            while levels:
                level = levels[-1]
                if level.inner:
                    name = level.inner.pop()
                    inner = _open_inner(name, fd)
                    if inner is None:
                        continue
                    fd = _swap(fd, inner)
                    os.mkdir(name, 0o700, dir_fd=self._target)
                    down = os.open(name, DIRECTORY_FLAGS, dir_fd=self._target)
                    self._target = _swap(self._target, down)
                    levels.append(_level(fd, f"{level.prefix}{name}/"))
                    yield from self._files(fd, levels[-1])
                else:
                    levels.pop()
                    if levels:
                        fd = _swap(fd, _parent(fd, levels[-1]))
                        up = os.open("..", DIRECTORY_FLAGS, dir_fd=self._target)
                        self._target = _swap(self._target, up)
        finally:
            os.close(fd)
            os.close(self._target)

    def _drop(self, name: str, directory: int) -> None:
        """Leave what isn't taken where it is."""

    def _take(self, directory: int, name: str, prefix: str) -> Artifact | None:
        self._check()
        try:
            fd = os.open(name, FILE_FLAGS, dir_fd=directory)
        except OSError as error:
            if error.errno in UNOPENED:
                return None
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            copy = os.open(name, COPY_FLAGS, MODE, dir_fd=self._target)
            try:
                os.fchmod(copy, MODE)
                digest = self._digest(fd, status, copy)
            finally:
                os.close(copy)
        finally:
            os.close(fd)
        return Artifact(path=spelled(f"{prefix}{name}"), bytes=status.st_size, sha256=digest)


def _open_inner(name: str, directory: int) -> int | None:
    try:
        return os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno in UNOPENED:
            return None
        raise


def spelled(path: str) -> str:
    """A path as a record has it; bytes that aren't UTF-8 become U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _level(directory: int, prefix: str) -> _Level:
    return _Level(prefix, _identity(directory), [])


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new


def _parent(directory: int, level: _Level) -> int:
    fd = os.open("..", DIRECTORY_FLAGS, dir_fd=directory)
    if _identity(fd) != level.identity:
        os.close(fd)
        raise OSError(errno.ESTALE, "a directory was moved while it was read", level.prefix)
    return fd


def _open_file(name: str, directory: int) -> int | None:
    """Open a regular file; None if it is none, or nobody may open it without touching others."""
    try:
        fd = os.open(name, FILE_FLAGS, dir_fd=directory)
    except PermissionError:
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_nlink > 1:
            return None
        unlock(name, MODE, directory)
        fd = os.open(name, FILE_FLAGS, dir_fd=directory)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _chunks(fd: int, status: os.stat_result) -> Iterator[tuple[int, bytes | memoryview]]:
    """The file from the first byte to the last it has now, holes as `ZEROS` without a read."""
    offset, size = 0, status.st_size
    has_holes = status.st_blocks * BLOCK_BYTES < size
    while offset < size:
        begin, end = _data_from(fd, offset, size) if has_holes else (offset, size)
        yield from _zeros(offset, begin)
        offset = begin
        while offset < end:
            data = os.pread(fd, min(CHUNK_BYTES, end - offset), offset)
            if not data:
                raise OSError(errno.EIO, "a file became shorter while it was read")
            yield offset, data
            offset += len(data)


def _zeros(begin: int, end: int) -> Iterator[tuple[int, memoryview]]:
    for offset in range(begin, end, CHUNK_BYTES):
        yield offset, ZEROS[: end - offset]


def _data_from(fd: int, offset: int, size: int) -> tuple[int, int]:
    """Where the first data at or after `offset` begins and ends."""
    try:
        begin = os.lseek(fd, offset, os.SEEK_DATA)
        return min(begin, size), min(os.lseek(fd, begin, os.SEEK_HOLE), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        return offset, size


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
