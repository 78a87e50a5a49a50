"""From a git push to the verdict of a job in a guest: service, worker and Incus are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import FLAKE, REPOSITORY, Project, wait_for
from forge_pushes import Pushes
from incus.guest_project import ROLE, assert_nothing_is_left, ending
from incus_jobs import write_hosts
from pika_git.forge_runtime.hook import install
from pika_git.forge_service.timeline import PHASES as SHOWN
from pika_git.persistence import auth
from records import PHASES
from served import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer

Json = dict[str, Any]
IMAGE = """
      images.@role@ = { alias = "@alias@"; instanceType = "container"; };
      targets ="""
TARGETS = """
  guest = {
    trigger = "branch";
    jobs.it = {
      runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; command = "sh ./test";
    };
  };
"""
LANES = """
[[branch.lanes]]
id = "guest"
target = "guest"
"""


@dataclass(frozen=True)
class Forge:
    """A forge that is served, and its worker, which alone knows of an Incus."""

    pushes: Pushes
    caller: Caller
    state: Path

    def push(self, test: str) -> None:
        """Push a commit whose lane's job is this shell script, in a guest."""
        self.pushes.commit_file("test", test)
        self.pushes.push("HEAD:refs/heads/main")

    def lane(self) -> Json:
        """The only lane, as the API has it; nothing while there is none."""
        answer = self.caller.get("/api/v1/lanes/1")
        return dict(answer.json()["lane"]) if answer.is_success else {}

    def over(self) -> Json:
        """The lane when its run is over."""
        run = wait_for(self._run_if_over)
        assert run["lanes"], run
        return self.lane()

    def _run_if_over(self) -> Json:
        answer = self.caller.get("/api/v1/runs/1")
        run: Json = answer.json() if answer.is_success else {}
        return run if run and run["line"]["finished_at"] else {}

    def log(self) -> str:
        """What the lane's job printed in its guest."""
        return self.caller.get("/api/v1/lanes/1/log?kind=guest").text

    def kill(self) -> None:
        """Kill the process that runs the lane's job."""
        (attempt,) = self.lane()["attempts"]
        lock = self.state / "runs" / attempt["pikaci_run_id"] / "owner.lock"
        os.killpg(json.loads(lock.read_bytes())["pid"], signal.SIGKILL)


@pytest.fixture
def forge(incus_server: IncusServer, tmp_path: Path) -> Iterator[Forge]:
    pushes = Pushes.below(tmp_path)
    install(pushes.repository, pushes.data.hook_socket)
    project = pushes.project
    image = IMAGE.replace("@alias@", incus_server.image_alias).replace("@role@", ROLE)
    project.define(TARGETS)
    flake = FLAKE.replace("@system@", project.system).replace("\n      targets =", image)
    project.write("flake.nix", flake)
    project.lanes(LANES)
    config = tmp_path / "config"
    write_hosts(config, project=incus_server.project)
    guests = {**incus_server.environment, "XDG_CONFIG_HOME": str(config)}
    with pushes.database.write() as connection:
        now = pushes.database.clock(connection)
        _, secret = auth.add_token(connection, "ann", "write", now)
    with (
        program(pushes, project, "serve", "--listen", "127.0.0.1:0") as service,
        program(pushes, project.with_env(**guests), "worker", "--name", "w"),
    ):
        assert service.stdout is not None
        url = service.stdout.readline().decode().strip()
        with closing(Caller(url, {"Authorization": f"Bearer {secret}"})) as caller:
            yield Forge(pushes, caller, pushes.data.state_root(pushes.repo_id))


@contextmanager
def program(pushes: Pushes, project: Project, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the forge's that goes on while the block runs."""
    env = project.env()
    del env["PIKACI_STATE_ROOT"]
    env["PATH"] = f"{REPOSITORY / '.venv/bin'}{os.pathsep}{env['PATH']}"
    argv = [sys.executable, "-m", "pika_git", *args, "--data", str(pushes.data.root)]
    with ending(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)) as process:
        yield process
        process.terminate()


def test_a_push_is_tested_in_a_guest(forge: Forge, incus_server: IncusServer) -> None:
    forge.push("id -un; pwd; printf '1..1\\nok\\n' > $PIKACI_ARTIFACTS/kept.tap\n")
    lane = forge.over()
    assert lane["state"] == "success", lane
    (attempt,) = lane["attempts"]
    record = forge.caller.get(f"/api/v1/pikaci/runs/{attempt['pikaci_run_id']}").json()
    (job,) = record["jobs"]
    assert (job["tests"]["total"], job["tests"]["passed"]) == (1, 1)
    assert job["execution"]["project"] == incus_server.project
    assert [phase["phase"] for phase in job["phases"]] == PHASES
    assert forge.log() == "pikaci\n/workspace/snapshot\n"
    page = forge.caller.get("/lanes/1").text
    assert all(word in page for word in ("guest.log", "/workspace/snapshot", "kept"))
    assert [label for label in SHOWN.values() if f">{label} " not in page] == []
    assert_nothing_is_left(incus_server, forge.state, departing=True)


def test_a_lane_whose_run_was_killed_or_cancelled_leaves_no_guest(
    forge: Forge, incus_server: IncusServer
) -> None:
    forge.push("echo begun; sleep 60\n")
    wait_for(lambda: forge.log() == "begun\n")
    (former,) = incus_server.instances()
    forge.kill()
    wait_for(lambda: len(forge.lane()["attempts"]) == 2 and forge.log() == "begun\n")
    killed = forge.lane()["attempts"][0]
    assert (killed["failure_kind"], killed["cause"]["code"]) == ("infrastructure", "owner_died")
    wait_for(lambda: former not in incus_server.instances())
    assert len(incus_server.instances()) == 1
    forge.caller.post("/api/v1/lanes/1/cancel", why="enough").raise_for_status()
    lane = forge.over()
    assert (lane["state"], lane["cancel_by"]) == ("cancelled", "ann")
    assert_nothing_is_left(incus_server, forge.state, departing=True)
