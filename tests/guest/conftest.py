from __future__ import annotations

import subprocess
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
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="pikaci-guest-"))
    directory.chmod(0o755)
    guest = Guest(directory)
    yield guest
    guest.stop()
    # Not shutil, for which directories may be nested too deep.
    subprocess.run(["rm", "-rf", str(directory)], check=True, timeout=60)
