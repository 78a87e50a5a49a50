"""An Incus of the bench's own with a btrfs pool, a project of no-op jobs, and requests by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pylxd
from paired import PIKACI, ROOT, Command, workshop
from pylxd import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

RUNNER = "/run/current-system/sw/bin/pikaci-incus-run"
RUNNER_JOB = {
    "PIKACI_INCUS_CONTRACT": "1",
    "PIKACI_INCUS_GUEST_COMMAND": "true",
    "PIKACI_INCUS_TIMEOUT_SECS": "60",
    "PIKACI_INCUS_RUN_AS_ROOT": "0",
}
EXECUTOR_PHASES = (
    "prepare_runtime",
    "launch_guest",
    "wait_for_completion",
    "collect_artifacts",
    "cleanup",
)
POLL_SECS = 0.001
GONE_POLL_SECS = 0.01
SETTLE_SECS = 60.0
WAIT_SECS = "30"
NAMES = count(1)
KEPT = "kept-"
STANDBY, STANDBY_NAME = "user.pikaci.standby", "pikaci-standby-"
FLAKE = """{
  outputs = _: {
    pikaci = (import ./nix/lib).mkCatalog {
      systems = [ "x86_64-linux" "aarch64-linux" ];
      images.guest = { alias = "@alias"; instanceType = "container"; };
      targets = _:
        let
          job = command: {
            inherit command;
            runtime = "incus";
            incus.role = "guest";
            timeoutSecs = 600;
          };
          with-cache = command: job command // { caches.kept.path = "~/kept"; };
          numbered = number: { name = "job-${toString number}"; value = job "true"; };
        in
        {
          one.jobs.job = job "true";
          many.jobs = builtins.listToAttrs (builtins.genList numbered @many);
          fill.jobs.job = with-cache "head -c 2G /dev/zero | split -a 4 -b 1M - ~/kept/";
          warm.jobs.job = with-cache "test -s ~/kept/aaaa";
          print.jobs.job = job "@printing";
        };
    };
  };
}
"""


class Place:
    """Where guests are made: by `pikaci run`, by the client's commands, and by single requests."""

    def __init__(self, directory: Path, socket: Path, project: str, image: str) -> None:
        self.directory = directory
        self.tree = directory / "tree"
        self.state = directory / "state"
        self.image = image
        self.env = {
            **os.environ,
            "INCUS_DIR": str(socket.parent),
            "INCUS_SOCKET": str(socket),
            "INCUS_CONF": str(directory / "client"),
            "INCUS_PROJECT": project,
            "XDG_CONFIG_HOME": str(directory / "config"),
        }
        endpoint = f"http+unix://{quote(str(socket), safe='')}"
        self._api = pylxd.Client(endpoint=endpoint, project=project).api

    def command(self, *argv: str) -> Command:
        """A command line in the project's tree, to this Incus."""
        return Command(argv, cwd=self.tree, env=self.env)

    def run(self, target: str, *flags: str) -> Command:
        """`pikaci run` of a target."""
        return self.command(PIKACI, "run", target, "--state-root", str(self.state), *flags)

    def last_record(self) -> tuple[dict[str, Any], int]:
        """The record of the one run there is, and the bytes its guests printed; it is removed."""
        (run,) = (self.state / "runs").iterdir()
        record: dict[str, Any] = json.loads((run / "run.json").read_bytes())
        printed = sum(path.stat().st_size for path in run.glob("jobs/*/attempts/1/guest.log"))
        shutil.rmtree(run)
        return record, printed

    def by_script(self, script: str) -> Command:
        """A shell's script for one guest, whose name is $1; it reads the client's commands."""
        return self.command("sh", "-euc", script, "sh", f"by-hand-{next(NAMES)}")

    def kept_guest(self) -> str:
        """The name of a guest that stays."""
        name = f"{KEPT}{next(NAMES)}"
        self.command("incus", "launch", "--quiet", self.image, name)()
        return name

    def gone(self) -> float:
        """Wait until there is no other instance; the milliseconds that took."""
        start = time.perf_counter()
        while self._passing():
            if time.perf_counter() - start > SETTLE_SECS:
                raise SystemExit("an instance is still there")
            time.sleep(GONE_POLL_SECS)
        return (time.perf_counter() - start) * 1000

    def _passing(self) -> list[str]:
        urls = self._api.instances.get().json()["metadata"]
        names = [url.rpartition("/")[2] for url in urls]
        return [name for name in names if not name.startswith(KEPT) and not self._stands_by(name)]

    def _stands_by(self, name: str) -> bool:
        if not name.startswith(STANDBY_NAME):
            return False
        try:
            row = self._api.instances[name].get().json()["metadata"]
        except exceptions.NotFound:
            return True
        return STANDBY in row["config"] and row["status"] == "Running"

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """Let a guest stand by, which the first run leaves."""
        hosts = self.directory / "config" / "pikaci" / "hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text("[local.standby]\nguests = 1\n")
        try:
            yield
        finally:
            shutil.rmtree(hosts.parent)
            self.command(PIKACI, "pool", "--clear", "--state-root", str(self.state))()
            self.gone()

    def by_requests(self) -> float:
        """What an executor can't but do for a no-op job; the milliseconds that took."""
        name = f"by-hand-{next(NAMES)}"
        snapshot, artifacts = self.directory / name / "snapshot", self.directory / name / "outbox"
        snapshot.mkdir(parents=True)
        artifacts.mkdir()
        body = {
            "name": name,
            "source": {"type": "image", "fingerprint": self._fingerprint()},
            "profiles": ["default"],
            "ephemeral": True,
            "start": True,
            "devices": {
                "snapshot": shared(snapshot, "/workspace/snapshot") | {"readonly": "true"},
                "artifacts": shared(artifacts, "/artifacts"),
            },
        }
        job = {"command": [RUNNER], "environment": RUNNER_JOB, "record-output": True}
        result = artifacts / "result.json"
        start = time.perf_counter()
        self._wait(self._api.instances.post(json=body))
        self._wait(self._api.instances[name].exec.post(json=job))
        while not result.exists():
            time.sleep(POLL_SECS)
        stop = {"action": "stop", "timeout": -1, "force": True}
        self._api.instances[name].state.put(json=stop)
        took = (time.perf_counter() - start) * 1000
        if json.loads(result.read_bytes())["status"] != "passed":
            raise SystemExit("the job by hand failed")
        return took

    def _fingerprint(self) -> str:
        alias = self._api.images.aliases[quote(self.image, safe="")].get().json()
        return str(alias["metadata"]["target"])

    def _wait(self, begun: Any) -> None:  # noqa: ANN401 - pylxd has no types
        operation = self._api.operations[begun.json()["operation"].rpartition("/")[2]]
        done = operation.wait.get(params={"timeout": WAIT_SECS}).json()["metadata"]
        if done["status"] != "Success":
            raise exceptions.LXDAPIException(begun)


def shared(source: Path, path: str) -> dict[str, str]:
    """A directory of the host's as a device."""
    return {"type": "disk", "source": str(source), "path": path, "shift": "true"}


def executor_ms(record: Mapping[str, Any]) -> float:
    """What the executor's phases of the one job took."""
    (job,) = record["jobs"]
    took = {phase["phase"]: phase["duration_ms"] for phase in job["phases"]}
    return float(sum(took[name] for name in EXECUTOR_PHASES))


def printing_ms(record: Mapping[str, Any]) -> float:
    """From the exec of the job to its result, with the whole log on the host."""
    (job,) = record["jobs"]
    took = {phase["phase"]: phase["duration_ms"] for phase in job["phases"]}
    return float(job["attempts"][-1]["execution"]["ready_ms"] + took["wait_for_completion"])


def is_possible() -> bool:
    """Whether an Incus can be started here; if not, people are told."""
    sys.path.insert(0, str(ROOT / "tests"))
    from incus.server import PROGRAMS

    possible = os.geteuid() == 0 and shutil.which("incusd", path=PROGRAMS) is not None
    if not possible:
        print("no rows of Incus: they need root and incusd", file=sys.stderr)
    return possible


@contextmanager
def place(many: int, printing: str) -> Iterator[Place]:
    """An Incus whose image is unpacked, and the project."""
    from incus.server import private_incus

    with private_incus() as server, workshop() as directory:
        found = Place(directory, server.socket, server.project, server.image_alias)
        shutil.copytree(ROOT / "nix" / "lib", found.tree / "nix" / "lib")
        words = {"@alias": server.image_alias, "@many": str(many), "@printing": printing}
        flake = FLAKE
        for word, value in words.items():
            flake = flake.replace(word, value)
        (found.tree / "flake.nix").write_text(flake)
        for argv in (["init", "--quiet"], ["add", "."]):
            subprocess.run(["git", *argv], cwd=found.tree, check=True)
        yield found


def in_turn(
    measures: Mapping[str, Callable[[], float]], between: Callable[[], object], rounds: int
) -> dict[str, list[float]]:
    """Take each measure in each round, after one round that doesn't count."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            value = measure()
            between()
            if number:
                found[name].append(value)
    return found
