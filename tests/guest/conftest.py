from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guest.guest import Guest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def guest() -> Iterator[Guest]:
    """A guest in which nothing runs afterwards."""
    # Not tmp_path, which is below a directory of root's alone: a job's user must get through.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="pikaci-guest-") as directory:
        Path(directory).chmod(0o755)
        guest = Guest(Path(directory))
        yield guest
        guest.stop()
