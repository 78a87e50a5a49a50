"""Removing directories with whatever modes and depth a job left them."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PASSES = 20
"""How often a directory is emptied that others empty or fill at the same time."""


def unlock(name: str, mode: int, directory: int) -> None:
    """Give `name` in the open `directory` a mode without following a link."""
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, mode, dir_fd=directory, follow_symlinks=False)
        return
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        # A link itself has no mode here, and the kernel says so.
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - the descriptor, not a path
    finally:
        os.close(fd)


def own(fd: int, mode: int) -> None:
    """Give what is open a mode, unless it was made immutable."""
    with suppress(PermissionError):
        os.fchmod(fd, mode)


def open_directory(name: str, directory: int | None = None) -> int:
    """Open a directory, which is its owner's alone afterwards, whatever mode it had."""
    try:
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
    except PermissionError:
        if directory is None:
            os.chmod(name, stat.S_IRWXU)  # noqa: PTH101 - as os.open takes it
        else:
            unlock(name, stat.S_IRWXU, directory)
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) != stat.S_IRWXU:
            own(fd, stat.S_IRWXU)
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove_tree(path: Path) -> None:
    """Remove a directory, or what has its name, whatever modes a job left; links are not followed.

    Any depth will do: directories are moved to the top before they are emptied. Several may remove
    the same directory at once. What can't be removed doesn't keep the rest.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for left in reversed(range(PASSES)):
        try:
            _empty(path)
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not left:
                # The name in it is relative to a directory that was open.
                raise OSError(error.errno, f"{error.strerror}, in", str(path)) from error
        else:
            return


def _empty(path: Path) -> None:
    top = open_directory(str(path))
    try:
        _Emptying(top).run()
    finally:
        os.close(top)


class _Emptying:
    """What it takes to empty the open directory `top` with no descriptor for each level."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._prefix = f".{os.urandom(8).hex()}-"
        self._count = 0
        self._waiting: list[str] = []
        self._error: OSError | None = None

    def run(self) -> None:
        self._clear(self._top)
        while self._waiting:
            name = self._waiting.pop()
            try:
                self._remove(name)
            except OSError as error:
                self._note(error)
        if self._error:
            raise self._error

    def _remove(self, name: str) -> None:
        fd = open_directory(name, self._top)
        try:
            self._clear(fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=self._top)

    def _clear(self, directory: int) -> None:
        with os.scandir(directory) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in names:
            try:
                if is_directory:
                    self._waiting.append(self._lift(name, directory))
                else:
                    os.unlink(name, dir_fd=directory)
            except OSError as error:
                self._note(error)

    def _lift(self, name: str, directory: int) -> str:
        if directory == self._top:
            return name
        self._count += 1
        lifted = f"{self._prefix}{self._count}"
        try:
            os.rename(name, lifted, src_dir_fd=directory, dst_dir_fd=self._top)
        except PermissionError:
            # A directory that moves must be writable itself: its `..` changes.
            unlock(name, stat.S_IRWXU, directory)
            os.rename(name, lifted, src_dir_fd=directory, dst_dir_fd=self._top)
        return lifted

    def _note(self, error: OSError) -> None:
        if error.errno not in {errno.ENOENT, errno.ENOTEMPTY} and self._error is None:
            self._error = error
