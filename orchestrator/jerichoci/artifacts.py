"""Collecting what a job left, as from a stranger.

Directories are opened without following links, only regular files count, anything else is removed,
and modes are stripped: what a job made may be a FIFO, a device, a setuid file, or a link to a
secret.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from jerichoci.record import ArtifactRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1024 * 1024
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def collect(directory: Path) -> list[ArtifactRecord]:
    """Take stock of `directory`, sorted by path; blocking, so call it in a thread.

    Raises:
        OSError: the directory isn't one, or can't be read.
    """
    fd = os.open(directory, DIRECTORY_FLAGS)
    try:
        return sorted(_walk(fd, ""), key=lambda artifact: artifact.path)
    finally:
        os.close(fd)


def _walk(directory: int, prefix: str) -> Iterator[ArtifactRecord]:
    os.fchmod(directory, 0o700)
    for name in os.listdir(directory):
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            os.chmod(name, 0o700, dir_fd=directory)
            inner = os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
            try:
                yield from _walk(inner, f"{prefix}{name}/")
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode):
            os.chmod(name, 0o600, dir_fd=directory)
            yield _take(directory, name, prefix)
        else:
            os.unlink(name, dir_fd=directory)


def _take(directory: int, name: str, prefix: str) -> ArtifactRecord:
    digest, size = hashlib.sha256(), 0
    fd = os.open(name, FILE_FLAGS, dir_fd=directory)
    try:
        while chunk := os.read(fd, CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    finally:
        os.close(fd)
    path = f"{prefix}{name}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return ArtifactRecord(path=path, bytes=size, sha256=digest.hexdigest())
