"""What doctor says of a machine that lacks something, and how it ends then."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from disk import fill, mounted
from privilege import only_root_can

if TYPE_CHECKING:
    from e2e.project import Project

MIB = 2**20
SYSTEMD = "/systemd/system"
"""Below /run, it says what the first process is."""


def look(project: Project, code: int) -> dict[str, dict[str, Any]]:
    done = project.here("doctor", "--json")
    assert done.code == code, done
    assert not done.is_our_fault, done
    assert all(row["hint"] for row in done.json["findings"] if row["status"] != "ok")
    return {row["name"]: row for row in done.json["findings"]}


def test_a_state_root_with_little_or_no_room_is_told(project: Project) -> None:
    with mounted(project.state, "64m"):
        assert look(project, 0)["state root"]["status"] == "note"
    for leave in (0, 200 * 1024, 8 * MIB):
        with mounted(project.state, "32m"):
            project.here("list").passed()
            fill(project.state, leave=leave)
            found = look(project, 75)["state root"]
        assert found["status"] == "bad"
        assert f" MiB free at {project.state}" in found["text"] or (
            leave < MIB and "No space left on device" in found["text"]
        )
    with mounted(project.state, "64m,nr_inodes=60"):
        found = look(project, 75)["state root"]
    assert found["status"] == "bad"
    assert " files" in found["text"]


def test_a_state_root_that_can_not_be_made_is_bad_and_the_rest_is_looked_at(
    project: Project,
) -> None:
    with mounted(project.state.parent / "full", "64k"):
        fill(project.state.parent / "full")
        there = project.with_env(PIKACI_STATE_ROOT=str(project.state.parent / "full/state"))
        found = look(there, 75)
    assert found["state root"]["status"] == "bad"
    assert "No space left on device" in found["state root"]["text"]
    assert {"nix", "git", "processes", "capacity", "incus"} <= found.keys()


@pytest.mark.parametrize("made", [SYSTEMD, ""])
def test_services_are_started_as_this_machine_does(project: Project, made: str) -> None:
    only_root_can("mount")
    there = project.with_env(NIX_REMOTE="unix:///nowhere/socket")
    run = 'mount -t tmpfs tmpfs /run && mkdir -p "/run$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", run, "sh", made, *there.argv("doctor")],
        cwd=there.root,
        env=there.env(),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 75, done
    assert "BAD  nix store" in done.stdout
    assert ("systemctl" in done.stdout) == bool(made)
    assert ("nix-daemon &" in done.stdout) != bool(made)
