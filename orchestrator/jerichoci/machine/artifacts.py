"""Files that a job left, taken as from a stranger.

Directories are opened without following links, only regular files are taken, and modes are
stripped to whether a file is executable: what a job made may be a FIFO, a device, a setuid file, or
a link to a secret. All may read what was taken, for a later job may be another user; the directory
around it is private. A file that is made immutable is read as it is. Others may change the tree
meanwhile: each directory and file is opened once, and what was opened is what is read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Self

from jerichoci.state.dataclass import dataclass
from jerichoci.state.natural import natural
from jerichoci.state.remove_tree import DIRECTORY_FLAGS, own, unlock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence
    from pathlib import Path

    from jerichoci.machine.artifact_limits import Admission

    Files = Generator[tuple[str, bool, Iterator[bytes]], None, None]
    """Paths of files, each with whether it is executable and its content in chunks, to be read
    before the next."""

CHUNK_BYTES = 1024 * 1024
MOST_DEPTH = 200
"""Directories below one another that are walked through: each is open meanwhile."""
MODE, EXECUTABLE, DIRECTORY = 0o644, 0o755, 0o755
"""Of what was taken, whatever the umask."""
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
UNOPENED = frozenset(
    {
        errno.ENOENT,
        errno.ELOOP,
        errno.ENXIO,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EOPNOTSUPP,
    }
)
"""Errors of opening what is no file any more, or what this user may not read."""
ZEROS = bytes(CHUNK_BYTES)


@dataclass(frozen=True)
class Artifact:
    """A file that a job left: path below `artifacts/files`, size in bytes, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


def take_artifacts(
    directory: Path,
    cancelled: Callable[[], bool] | None = None,
    admission: Admission | None = None,
) -> list[Artifact]:
    """Make `directory` safe where it is, and list its files by path; blocking.

    What is no file is removed, and so is what `admission` refuses. A file with another name,
    perhaps far from here, is replaced by a copy: the other one keeps its mode. `cancelled` is asked
    before each file and each chunk of one, and ends it with ECANCELED. Directories that are nested
    too deep are ENAMETOOLONG.
    """
    top = os.open(directory, DIRECTORY_FLAGS)
    taken = []
    try:
        own(top, DIRECTORY)
        with closing(_walk(top, cancelled, strip=True)) as entries:
            for entry in entries:
                # What is immutable stays where it is.
                with suppress(PermissionError, IsADirectoryError):
                    if entry.fd < 0 or not entry.is_admitted(admission):
                        os.unlink(entry.name, dir_fd=entry.directory)
                    elif os.fstat(entry.fd).st_nlink > 1:
                        taken.append(_replace(entry, cancelled))
                    else:
                        own(entry.fd, EXECUTABLE if entry.is_executable else MODE)
                        taken.append(_digest(entry, cancelled))
    finally:
        os.close(top)
    return sorted(taken, key=lambda artifact: natural(artifact.path))


def read_directory(
    directory: Path,
    cancelled: Callable[[], bool] | None = None,
    admission: Admission | None = None,
) -> Files:
    """The files below `directory`, which stays as it is; blocking."""
    top = os.open(directory, DIRECTORY_FLAGS)
    try:
        yield from read_files(top, cancelled, admission)
    finally:
        os.close(top)


def read_files(
    directory: int,
    cancelled: Callable[[], bool] | None,
    admission: Admission | None = None,
    prefix: str = "",
) -> Files:
    """The files below an open directory, whose paths begin with `prefix`."""
    for entry in _walk(directory, cancelled):
        if entry.fd >= 0 and entry.is_admitted(admission):
            yield f"{prefix}{entry.path}", entry.is_executable, _chunks(entry.fd, cancelled)


class ArtifactWriter:
    """A context manager that writes files below a directory, one after the other."""

    def __init__(self, into: Path | int) -> None:
        self._directory = os.dup(into) if isinstance(into, int) else os.open(into, DIRECTORY_FLAGS)
        self._made: list[Artifact] = []
        self._path = ""
        self._fd = -1
        self._size = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._end()
        finally:
            os.close(self._directory)

    def made(self) -> list[Artifact]:
        """The files, by path."""
        return sorted(self._made, key=lambda artifact: natural(artifact.path))

    def begin(self, path: str, *, is_executable: bool = False) -> None:
        """Begin the file at `path`, which is relative and plain."""
        self._end()
        try:
            fd = os.open(path, WRITE_FLAGS, MODE, dir_fd=self._directory)
        except FileNotFoundError:
            for at in (at for at, letter in enumerate(path) if letter == "/"):
                with suppress(FileExistsError):
                    os.mkdir(path[:at], DIRECTORY, dir_fd=self._directory)
                    os.chmod(path[:at], DIRECTORY, dir_fd=self._directory)
            fd = os.open(path, WRITE_FLAGS, MODE, dir_fd=self._directory)
        os.fchmod(fd, EXECUTABLE if is_executable else MODE)
        self._path, self._fd, self._size, self._digest = path, fd, 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add to the file that was begun last; a chunk of zeros becomes a hole."""
        self._digest.update(data)
        view, offset = memoryview(b"" if ZEROS.startswith(data) else data), self._size
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written
        self._size += len(data)

    def _end(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.ftruncate(fd, self._size)
        finally:
            os.close(fd)
        path = recorded(self._path)
        self._made.append(Artifact(path, self._size, self._digest.hexdigest()))


def put(directory: Path, parts: Sequence[str | bytes]) -> None:
    """Write files below a directory, in parts as of `remote.agent.outgoing`; blocking.

    A text that begins with `+` continues the file that an earlier call began.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(DIRECTORY)
    fd = -1
    try:
        for part in parts:
            if isinstance(part, bytes):
                view = memoryview(part)
                while view:
                    view = view[os.write(fd, view) :]
                continue
            if fd >= 0:
                os.close(fd)
            path, kind = directory / part[1:], part[0]
            for parent in reversed(path.relative_to(directory).parents):
                with suppress(FileExistsError):
                    (directory / parent).mkdir()
                    (directory / parent).chmod(DIRECTORY)
            flags = WRITE_FLAGS & ~os.O_TRUNC | os.O_APPEND if kind == "+" else WRITE_FLAGS
            fd = os.open(path, flags, MODE)
            if kind != "+":
                os.fchmod(fd, EXECUTABLE if kind == "x" else MODE)
    finally:
        if fd >= 0:
            os.close(fd)


def recorded(path: str) -> str:
    """A path as a record has it; bytes that aren't UTF-8 become U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(frozen=True)
class _Entry:
    """What is no directory, by its name in an open one; `fd` is -1 unless it is a readable file."""

    path: str
    name: str
    directory: int
    fd: int

    @property
    def is_executable(self) -> bool:
        return bool(os.fstat(self.fd).st_mode & 0o111)

    def is_admitted(self, admission: Admission | None) -> bool:
        if admission is None:
            return True
        return admission.admits(recorded(self.path), os.fstat(self.fd).st_size)


def _walk(
    directory: int,
    cancelled: Callable[[], bool] | None,
    *,
    strip: bool = False,
    prefix: str = "",
    depth: int = 0,
) -> Generator[_Entry, None, None]:
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        _check(cancelled)
        fd = _open(entry, directory)
        try:
            if fd < 0 or stat.S_ISREG(os.fstat(fd).st_mode):
                yield _Entry(f"{prefix}{entry.name}", entry.name, directory, fd)
                continue
            if depth == MOST_DEPTH:
                raise OSError(
                    errno.ENAMETOOLONG, f"directories are nested more than {MOST_DEPTH} deep"
                )
            if strip:
                own(fd, DIRECTORY)
            below = f"{prefix}{entry.name}/"
            yield from _walk(fd, cancelled, strip=strip, prefix=below, depth=depth + 1)
        finally:
            if fd >= 0:
                os.close(fd)


def _open(entry: os.DirEntry[str], directory: int) -> int:
    """Open a regular file or a directory; -1 if it is neither, or can't be read."""
    is_directory = entry.is_dir(follow_symlinks=False)
    if not is_directory and not entry.is_file(follow_symlinks=False):
        return -1
    fd = open_as(entry.name, directory, stat.S_IFREG, stat.S_IFDIR)
    if fd < 0:
        with suppress(OSError):  # it is gone, or another user's
            if is_directory or entry.stat(follow_symlinks=False).st_nlink == 1:
                unlock(entry.name, stat.S_IRWXU if is_directory else MODE, directory)
                fd = open_as(entry.name, directory, stat.S_IFREG, stat.S_IFDIR)
    return fd


def open_as(name: str, directory: int, *kinds: int, passed_over: Collection[int] = UNOPENED) -> int:
    """Open what has a name in a directory; -1 if it is of other kinds, or for these errors."""
    try:
        fd = os.open(name, READ_FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno in passed_over:
            return -1
        raise
    if stat.S_IFMT(os.fstat(fd).st_mode) in kinds:
        return fd
    os.close(fd)
    return -1


def _chunks(fd: int, cancelled: Callable[[], bool] | None) -> Iterator[bytes]:
    """A file as long as it is now, or shorter if it is cut meanwhile."""
    offset, size = 0, os.fstat(fd).st_size
    while data := os.pread(fd, min(CHUNK_BYTES, size - offset), offset):
        _check(cancelled)
        yield data
        offset += len(data)


def _check(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def _digest(entry: _Entry, cancelled: Callable[[], bool] | None) -> Artifact:
    digest, size = hashlib.sha256(), 0
    for data in _chunks(entry.fd, cancelled):
        digest.update(data)
        size += len(data)
    return Artifact(recorded(entry.path), size, digest.hexdigest())


def _replace(entry: _Entry, cancelled: Callable[[], bool] | None) -> Artifact:
    """Put a copy in the place of a file that has another name."""
    temp = f".pikaci-{os.urandom(8).hex()}"
    try:
        with ArtifactWriter(entry.directory) as writer:
            writer.begin(temp, is_executable=entry.is_executable)
            for data in _chunks(entry.fd, cancelled):
                writer.write(data)
        os.rename(temp, entry.name, src_dir_fd=entry.directory, dst_dir_fd=entry.directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temp, dir_fd=entry.directory)
        raise
    (made,) = writer.made()
    return Artifact(recorded(entry.path), made.bytes, made.sha256)
