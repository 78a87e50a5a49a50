"""What is installed where there is no checkout: a wheel, built with what pip would take."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from nix.evaluation import ROOT

if TYPE_CHECKING:
    from pathlib import Path

GUEST_FILES = {
    "pikaci-incus-run": "nix/incus/pikaci-incus-run.py",
    "bootstrap.sh": "nix/tart/bootstrap.sh",
}
SHOW = "import sys; from jerichoci.runtime.tart.guest import guest_program as of;"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, as an installer unpacks it."""
    built = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


@pytest.mark.parametrize("name", GUEST_FILES)
def test_a_wheel_has_what_macos_guests_run(unpacked: Path, name: str) -> None:
    code = f"{SHOW} sys.stdout.buffer.write(of({name!r}, 'nowhere'))"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv, cwd=unpacked, env={"PYTHONPATH": str(unpacked)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / GUEST_FILES[name]).read_bytes()
    assert (unpacked / "jerichoci/runtime/tart/guest_files" / name).is_file()


def test_a_wheel_has_all_that_the_checkout_has(unpacked: Path) -> None:
    ours = {
        path.relative_to(ROOT / "orchestrator")
        for package in ("jerichoci", "pikaci")
        for path in (ROOT / "orchestrator" / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in ours if not (unpacked / path).is_file()} == set()
