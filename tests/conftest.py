from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from jerichoci.layout import StateLayout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    """A state root of the test's own."""
    layout = StateLayout(tmp_path / "state")
    layout.make()
    return layout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 2 MiB."""
    with mounted(tmp_path / "disk", "2m") as directory:
        yield directory


@contextmanager
def mounted(directory: Path, size: str) -> Iterator[Path]:
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    try:
        yield directory
    finally:
        # Lazily: a test that failed may have left a process in it.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
