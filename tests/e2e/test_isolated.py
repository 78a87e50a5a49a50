"""pikaci's libraries are its own, whatever Python's variables say where it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("pikaci")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Packages that were built for another Python."""
    for package in ("pydantic", "click", "jerichoci", "pikaci"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('for another Python')")
    return tmp_path


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE"])
def test_pythons_variables_are_for_others(broken: Path, name: str) -> None:
    if not PROGRAM.exists():
        pytest.skip("this Python is not that of a checkout's .venv")
    done = subprocess.run(
        [str(PROGRAM), "--version"],
        cwd=broken,
        env=os.environ | {name: str(broken)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
