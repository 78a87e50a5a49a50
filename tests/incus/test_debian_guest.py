"""The Debian guest and the runner in it, in a real Incus."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from incus.conftest import MakePool
    from incus.server import IncusServer

RUNNER = "/run/current-system/sw/bin/pikaci-incus-run"
USER, GROUP = 1000, 100
TRIES = 20
DEADLINE_SECS = 60


class Guest:
    """An instance with a snapshot and a directory for artifacts."""

    def __init__(self, server: IncusServer, directory: Path) -> None:
        self.server = server
        self.name = f"guest-{directory.name.replace('_', '-')[-40:].strip('-')}"
        self.snapshot = directory / "snapshot"
        self.artifacts = directory / "artifacts"
        for path in (self.snapshot, self.artifacts):
            path.mkdir()
        (self.snapshot / "README").write_text("hello\n")
        for path in (self.snapshot, self.snapshot / "README"):
            os.chown(path, USER, GROUP)

    def launch(self, *options: str) -> None:
        incus = self.server.incus
        incus("init", "--quiet", self.server.image_alias, self.name, *options)
        for name, source, target, more in (
            ("snapshot", self.snapshot, "/workspace/snapshot", ["readonly=true"]),
            ("artifacts", self.artifacts, "/artifacts", []),
        ):
            places = (f"source={source}", f"path={target}", "shift=true")
            incus("config", "device", "add", self.name, name, "disk", *places, *more)
        incus("start", "--quiet", self.name)

    def execute(self, *command: str, **variables: str) -> str:
        env = [f"--env=PIKACI_INCUS_{name}={value}" for name, value in variables.items()]
        return self.server.incus("exec", self.name, *env, "--", *command)

    def start(self, command: str, *, as_root: bool = False) -> None:
        said = self.execute(
            RUNNER,
            CONTRACT="1",
            GUEST_COMMAND=command,
            TIMEOUT_SECS="60",
            RUN_AS_ROOT=str(int(as_root)),
        )
        assert json.loads(said) == {"contract": 1, "state": "started"}

    def result(self) -> dict[str, Any]:
        path = self.artifacts / "result.json"
        wait_for(path.exists)
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def log(self) -> str:
        return (self.artifacts / "guest.log").read_text()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def guest(incus_server: IncusServer, tmp_path: Path) -> Guest:
    guest = Guest(incus_server, tmp_path)
    guest.launch()
    return guest


def test_an_exec_is_possible_soon_after_the_start(guest: Guest) -> None:
    for _ in range(TRIES):
        try:
            said = guest.execute(RUNNER, "--check-contract", CONTRACT="1")
        except AssertionError:
            time.sleep(0.05)
        else:
            break

    assert json.loads(said) == {"contract": 1, "state": "ready"}


def test_another_contract_is_refused(guest: Guest) -> None:
    with pytest.raises(AssertionError, match="this runner knows contract 1, and '2' is asked for"):
        guest.execute(RUNNER, "--check-contract", CONTRACT="2")


def test_a_guest_without_mounts_is_not_ready(incus_server: IncusServer) -> None:
    incus_server.incus("launch", "--quiet", incus_server.image_alias, "bare")

    with pytest.raises(AssertionError, match="nothing is mounted yet at /artifacts"):
        incus_server.incus(
            "exec", "bare", "--env=PIKACI_INCUS_CONTRACT=1", "--", RUNNER, "--check-contract"
        )


def test_a_job_runs_as_the_user_in_a_writable_workspace(guest: Guest) -> None:
    guest.start(
        "id -un; id -u; id -gn; pwd; cat README; stat -c %u README\n"
        "rm README; mkdir -p new/deep; echo new > new/deep/file\n"
        "echo kept > $PIKACI_ARTIFACTS/kept; git --version"
    )

    result = guest.result()
    lines = guest.log().splitlines()
    assert (result["status"], result["exit_code"]) == ("passed", 0)
    assert lines[:6] == ["pikaci", "1000", "users", "/workspace/snapshot", "hello", "1000"]
    assert (guest.artifacts / "files" / "kept").read_text() == "kept\n"


def test_the_snapshot_stays_as_it_is(guest: Guest) -> None:
    guest.start("echo changed > README; rm README; mkdir README; touch other")

    assert guest.result()["status"] == "passed"
    assert [path.name for path in guest.snapshot.iterdir()] == ["README"]
    assert (guest.snapshot / "README").read_text() == "hello\n"


def test_a_job_may_be_root(guest: Guest) -> None:
    guest.start("id -u; touch /etc/mine && rm README", as_root=True)

    assert guest.result()["status"] == "passed"
    assert guest.log() == "0\n"


def test_a_failure_has_its_exit_code(guest: Guest) -> None:
    guest.start("echo why >&2; exit 7")

    result = guest.result()
    assert (result["status"], result["exit_code"]) == ("failed", 7)
    assert guest.log() == "why\n"


def test_a_job_outlives_incusd(guest: Guest) -> None:
    guest.start("until [ -e $PIKACI_ARTIFACTS/go ]; do sleep 0.05; done; echo went")
    old = guest.server.pid

    guest.server.stop()
    (guest.artifacts / "files" / "go").touch()
    result = guest.result()
    guest.server.start()

    assert (result["status"], guest.log()) == ("passed", "went\n")
    assert guest.server.pid != old
    assert guest.server.instances() == [guest.name]
    assert guest.execute("echo", "here") == "here\n"


def test_a_guest_on_the_bridge_has_an_address(incus_server: IncusServer) -> None:
    launch = ("launch", "--quiet", incus_server.image_alias, "wired")
    incus_server.incus(*launch, f"--network={incus_server.bridge}")

    def has_address() -> bool:
        return "inet 10." in incus_server.incus("exec", "wired", "--", "ip", "-4", "address")

    wait_for(has_address)


def test_a_guest_has_no_network_of_itself(guest: Guest) -> None:
    assert guest.execute("ls", "/sys/class/net").split() == ["lo"]


def test_a_stop_needs_no_kill(guest: Guest) -> None:
    # Before it listens, the first process of a guest is sent no signal.
    wait_for(lambda: "sleep" in guest.execute("ps", "-o", "comm=", "--ppid", "1"))
    guest.server.incus("stop", "--timeout=20", guest.name)

    assert guest.server.incus("list", "--format=csv", "--columns=s").strip() == "STOPPED"


def test_a_guest_may_be_in_another_pool(
    guest: Guest, tmp_path: Path, make_pool: MakePool, incus_server: IncusServer
) -> None:
    (tmp_path / "second").mkdir()
    second = Guest(incus_server, tmp_path / "second")
    second.launch(f"--storage={make_pool('slow')}")

    assert second.execute("cat", "/workspace/snapshot/README") == "hello\n"
    assert sorted(incus_server.instances()) == sorted([guest.name, second.name])
