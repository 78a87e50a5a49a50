"""Filling a disk up to its last block."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def fill(directory: Path, *, leave: int = 0) -> Path:
    """Take all room of the file system but `leave` bytes; the file that has it."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    if leave:
        os.truncate(path, path.stat().st_size - leave)
    return path
