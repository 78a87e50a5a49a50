"""A state root on a file system that can't be mounted with other owners."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from incus.guest_project import make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer

TARGETS = """
  hello.jobs.it = { runtime = "incus"; incus.role = "runner"; command = "echo hello"; };
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """A directory on overlayfs, which can't be an upper layer itself."""
    memory, merged = tmp_path / "memory", tmp_path / "merged"
    for path in (memory, merged):
        path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", memory], check=True)
    try:
        for name in ("lower", "upper", "work"):
            (memory / name).mkdir()
        options = f"lowerdir={memory}/lower,upperdir={memory}/upper,workdir={memory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", "--lazy", merged], check=True)
    finally:
        subprocess.run(["umount", "--lazy", memory], check=True)


def test_a_state_root_on_overlayfs_is_refused_for_containers(
    incus_server: IncusServer, tmp_path: Path, overlay: Path
) -> None:
    project = make_project(tmp_path, incus_server, TARGETS)
    there = replace(project, state=overlay / "state")
    refused = there.here("run", "hello").refused()
    assert "containers can't have directories of the state root" in refused
    assert f"{there.state} is on overlayfs" in refused
    assert "(pass `--state-root`)" in refused
    doctor = there.here("doctor", "--json")
    assert doctor.code == 75, doctor
    (found,) = (row for row in doctor.json["findings"] if row["name"] == "guest mounts")
    assert found["status"] == "bad"
    assert "ext4, xfs or btrfs" in found["hint"]
    there.here("run", "hello", f"--state-root={project.state}", "--wait-removal").passed()
