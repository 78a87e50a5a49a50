"""The Debian guest in a real Incus, without pikaci: how its runner answers, and how it stops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from incus.server import IncusServer

RUNNER = "/run/current-system/sw/bin/pikaci-incus-run"


def check(server: IncusServer, name: str, contract: int = 1) -> str:
    """What the runner answers before it runs a job."""
    env = f"--env=PIKACI_INCUS_CONTRACT={contract}"
    return server.incus("exec", name, env, "--", RUNNER, "--check-contract")


def test_a_guest_is_ready_when_its_artifacts_are_mounted_and_the_contract_is_known(
    incus_server: IncusServer, tmp_path: Path
) -> None:
    incus_server.incus("launch", "--quiet", incus_server.image_alias, "bare")
    # An exec is possible soon after the start.
    with pytest.raises(AssertionError, match="nothing is mounted yet at /artifacts"):
        check(incus_server, "bare")

    artifacts = (f"source={tmp_path}", "path=/artifacts", "shift=true")
    incus_server.incus("config", "device", "add", "bare", "artifacts", "disk", *artifacts)
    snapshot = (f"source={tmp_path}", "path=/workspace/snapshot", "shift=true")
    incus_server.incus("config", "device", "add", "bare", "snapshot", "disk", *snapshot)

    assert json.loads(check(incus_server, "bare")) == {"contract": 1, "state": "ready"}
    with pytest.raises(AssertionError, match="this runner knows contract 1, and '2' is asked for"):
        check(incus_server, "bare", contract=2)


def test_a_stop_needs_no_kill(incus_server: IncusServer) -> None:
    incus_server.incus("launch", "--quiet", incus_server.image_alias, "stopped")
    # Before it listens, the first process of a guest is sent no signal.
    wait_for(
        lambda: (
            "sleep" in incus_server.incus("exec", "stopped", "--", "ps", "-o", "comm=", "--ppid=1")
        )
    )
    incus_server.incus("stop", "--timeout=20", "stopped")

    assert incus_server.incus("list", "--format=csv", "--columns=s").strip() == "STOPPED"
