"""Jobs in guests of the tests' own Incus: through the program, or through the engine alone."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.project import Project, wait_for
from incus_jobs import write_hosts
from jerichoci.cleanup.gc import reap
from jerichoci.machine.system import own_system
from jerichoci.plan.plan import ExecuteNode, Image, PrepareNode
from jerichoci.state.reading import read_run
from plans import RUN_ID, job
from runner import ORCHESTRATOR, SCRIPT, Ended, Runner
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pytest

    from incus.server import IncusServer
    from jerichoci.state.layout import StateLayout

Json = dict[str, Any]
ROLE = "runner"
USER = 1000
DEPARTURE_SECS = 20.0
"""A guest that was asked to stop is gone in 600 ms, on a machine that does nothing else."""

FLAKE = """
{
  outputs = _: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      targets = import ./targets.nix;
      images.runner = { alias = "@alias@"; instanceType = "container"; };
    };
  };
}
"""


def make_project(directory: Path, server: IncusServer, targets: str, flake: str = FLAKE) -> Project:
    """A project with one commit, whose jobs may have the role `runner`."""
    for name in ("repo", "home"):
        (directory / name).mkdir()
    private = {"HOME": str(directory / "home"), "LC_ALL": "C.UTF-8"}
    private["XDG_CONFIG_HOME"] = str(directory / "home" / ".config")
    project = Project(
        tree=UserTree(directory / "repo"),
        state=directory / "state",
        token=secrets.token_hex(8),
        system=own_system(),
        environment={**IDENTITY, **private, **server.environment},
    )
    project.write("README", "hello\n")
    project.define(targets)
    flake = flake.replace("@system@", project.system).replace("@alias@", server.image_alias)
    project.write("flake.nix", flake.replace("@token@", project.token))
    project.tree.init()
    project.tree.commit()
    return project


def use_site(project: Project, /, **site: str) -> None:
    """Have a hosts file that says this of Incus."""
    write_hosts(Path(project.environment["XDG_CONFIG_HOME"]), **site)


def have_standby(project: Project, guests: int = 1, **limits: int) -> None:
    """Have a hosts file that lets guests stand by."""
    file = Path(project.environment["XDG_CONFIG_HOME"]) / "pikaci" / "hosts.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{name} = {value}" for name, value in {"guests": guests, **limits}.items()]
    file.write_text("\n".join(["[local.standby]", *rows, ""]))


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that doesn't outlive its test."""
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def started(project: Project, *args: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A command of the program that goes on while the block runs."""
    return ending(project.start(*args))


def guest_job(
    name: str,
    command: str = "true",
    *,
    network: str | None = None,
    role: str = ROLE,
    **execute: Any,  # noqa: ANN401 - fields of the model
) -> ExecuteNode:
    """A job in a guest, for the engine."""
    config = {"role": role, "network": network}
    return job(name, command, **execute).with_(runtime="incus", runtime_config=config)


@dataclass(frozen=True)
class GuestRunner:
    """The engine in a process of its own, which has jobs in guests."""

    runner: Runner
    server: IncusServer
    socket: Path
    alias: str
    environment: Mapping[str, str]

    @property
    def state(self) -> StateLayout:
        return self.runner.state

    def at(self, socket: Path) -> GuestRunner:
        """The same, with another way to Incus."""
        return replace(self, socket=socket)

    def of(self, alias: str) -> GuestRunner:
        """The same, with guests of another image."""
        return replace(self, alias=alias)

    @property
    def images(self) -> list[Image]:
        return [Image(role=ROLE, alias=self.alias, instance_type="container")]

    @property
    def env(self) -> dict[str, str]:
        """What a process has in its environment that uses this Incus."""
        own = {"INCUS_SOCKET": str(self.socket), "INCUS_DIR": str(self.server.directory)}
        path = {"PYTHONPATH": f"{ORCHESTRATOR}{os.pathsep}{SCRIPT.parent}"}
        return {**os.environ, **path, **own, **self.environment}

    def start(
        self, *nodes: PrepareNode | ExecuteNode, run_id: str = RUN_ID
    ) -> subprocess.Popen[bytes]:
        """Begin a run."""
        return self.runner.start(*nodes, images=self.images, run_id=run_id, env=self.env)

    def run(self, *nodes: PrepareNode | ExecuteNode, run_id: str = RUN_ID) -> Json:
        """Run to the end; the record of the only job."""
        with ending(self.start(*nodes, run_id=run_id)) as process:
            process.wait(90)
        (record,) = self.record(run_id)["jobs"]
        return dict(record)

    async def run_here(
        self,
        *nodes: PrepareNode | ExecuteNode,
        **given: Any,  # noqa: ANN401 - as `Runner.run` has it
    ) -> Ended:
        """Run in this process."""
        return await self.runner.run(*nodes, images=self.images, run_id=RUN_ID, **given)

    def site(self, **values: str) -> GuestRunner:
        """The same, where the hosts file says something."""
        write_hosts(Path(self.environment["XDG_CONFIG_HOME"]), **values)
        return self

    def record(self, run_id: str = RUN_ID) -> Json:
        """A run as it stands."""
        return read_run(self.state.run(run_id))

    def events(self, run_id: str = RUN_ID) -> list[Json]:
        """The whole lines of events.jsonl."""
        path = self.state.run(run_id).events
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def begins(self, phase: str, run_id: str = RUN_ID) -> bool:
        """Whether a phase of a job has begun."""
        return any(event.get("phase") == phase for event in self.events(run_id))

    def log(self, name: str = "a", run_id: str = RUN_ID) -> str:
        return (self.state.run(run_id).attempt(name, 1) / "guest.log").read_text()

    def reap(self) -> None:
        """Do in this process what `pikaci reap` does."""
        reap(self.state)

    def pikaci(self, *args: str) -> str:
        """What a command of the program says about the same state root."""
        done = subprocess.run(
            [sys.executable, "-m", "pikaci", *args, f"--state-root={self.state.root}"],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, done
        return done.stdout + done.stderr


def outbox(state: Path, job_id: str, run_id: str, attempt: int = 1) -> Path:
    """The directory that a job's guest has as its /artifacts."""
    return state / "runs" / run_id / "scratch" / f"{job_id}-{attempt}" / "artifacts"


def let_go(state: Path, job_id: str, run_id: str, word: str = "go") -> None:
    """Tell a job that waits for a file in $PIKACI_ARTIFACTS to go on; or its run is over."""
    files = outbox(state, job_id, run_id) / "files"
    events = state / "runs" / run_id / "events.jsonl"
    wait_for(lambda: files.is_dir() or (events.exists() and b"run_finished" in events.read_bytes()))
    if files.is_dir():
        (files / word).touch()


def until(word: str) -> str:
    """What a job says that is to wait for the word."""
    return f'until [ -e "$PIKACI_ARTIFACTS/{word}" ]; do sleep 0.02; done'


def until_logged(line: object) -> str:
    """What a job of root's says that is to wait until a line is in its log."""
    return f'until grep -qx {line} "$PIKACI_ARTIFACTS/../guest.log"; do sleep 0.1; done;'


def assert_nothing_is_left(
    server: IncusServer, state: Path, *, instances: Sequence[str] = (), departing: bool = False
) -> None:
    """No guest, note, mount, lease or scratch directory of a state root; `departing` guests may
    still be on their way out, as incusd was asked for.
    """
    if departing:
        end = time.monotonic() + DEPARTURE_SECS
        while sorted(server.instances()) != sorted(instances) and time.monotonic() < end:
            time.sleep(0.05)
    assert sorted(server.instances()) == sorted(instances)
    notes = list((state / "elsewhere" / "incus").glob("*"))
    if departing:
        read = [json.loads(path.read_text()) for path in notes]
        assert all(note["removal_requested"] for note in read), read
    else:
        assert not notes, [(path.name, path.read_text()) for path in notes]
    assert mounts_of(server, state) == []
    assert list(state.glob("runs/*/scratch/*")) == []
    assert list(state.glob("runs/*/*.tmp-*")) == []
    assert list(state.glob("guest-store/views/.*")) == []


def mounts_of(server: IncusServer, directory: Path) -> list[str]:
    """What is mounted from or below a directory, as this process and incusd see it."""
    lines: list[str] = []
    for process in ("self", str(server.pid)):
        lines += Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    found = [line.split()[3:5] for line in lines]
    return [f"{source} at {point}" for source, point in found if str(directory) in source + point]


def make_guests(
    runner: Runner, server: IncusServer, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    """The engine on a snapshot, with a hosts file of its own."""
    private = {"XDG_CONFIG_HOME": str(directory / "config"), "HOME": str(directory)}
    guests = GuestRunner(runner, server, server.socket, server.image_alias, private)
    # What is done in this process finds its Incus as the others do.
    for name, value in guests.env.items():
        monkeypatch.setenv(name, value)
    return guests
