"""A Mac on this machine: the program `tart` of the fake, and a `$TART_HOME` of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privilege import only_root_can
from tart.faults import Fault, Faults, Kind, Step
from tart.guest_files import UNAME
from tart.home import VM, Home, mac_address, make, remote_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remote.far_host import FarHost

PROGRAM = (
    *("agent", "client", "command_line", "directory_share", "failure", "faults", "frames"),
    *("guest_files", "home", "linux", "machine", "tart"),
)

LAUNCHER = """#!/usr/bin/python3 -IS
import sys

sys.path.insert(0, {modules!r})
from tart.tart import main

sys.exit(main(sys.argv[1:]))
"""

COMMAND_SECS = 60
STARTED_SECS = 30
ENDED_SECS = 30
POLL_SECS = 0.01


@dataclass(frozen=True)
class Call:
    """A call of the program."""

    argv: tuple[str, ...]
    pid: int
    time: float

    @property
    def step(self) -> str:
        """The subcommand."""
        return self.argv[0] if self.argv else ""

    @property
    def line(self) -> str:
        return " ".join(self.argv)


@dataclass
class Mac:
    """A Mac that is ready for jobs, and what happens to it."""

    home: Path
    """`$TART_HOME`."""
    bin: Path
    """Has `tart` and a `uname` that says it is Darwin on arm64."""
    host: FarHost | None = None
    """The far host that it is, or this machine."""
    _by_hand: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process of this machine one of the Mac's."""
        path = os.environ.get("PATH", os.defpath)
        return {"TART_HOME": str(self.home), "PATH": f"{self.bin}:{path}"}

    def install(self) -> None:
        """Put the programs in place."""
        modules = self.home / "program"
        package = modules / "tart"
        package.mkdir(parents=True)
        self.bin.mkdir(parents=True, exist_ok=True)
        here = Path(__file__).parent
        compiled = package / "__pycache__"
        compiled.mkdir()
        for name in PROGRAM:
            shutil.copy2(here / f"{name}.py", package)
            for file in here.glob(f"__pycache__/{name}.cpython-311.pyc"):
                shutil.copy2(file, compiled)
        self._write("tart", LAUNCHER.format(modules=str(modules)))
        self._write("uname", UNAME.replace("REAL", "/usr/bin/uname"))

    def add_base(
        self,
        name: str,
        os: str = "darwin",
        **guest: object,
    ) -> None:
        """A local VM to clone, or with `/` in its name an image that can be pulled.

        `guest` says how its VMs are unlike those of usual images: `sudo=False`,
        `files={path: content}`.
        """
        config: dict[str, Any] = {
            "version": 1,
            "os": os,
            "arch": "arm64",
            "cpuCountMin": 2,
            "cpuCount": 4,
            "memorySizeMin": 4096 << 20,
            "memorySize": 8192 << 20,
            "macAddress": mac_address(),
            "guest": guest,
        }
        home = Home(self.home)
        if "/" in name:
            home.registry.mkdir(exist_ok=True)
            home.registry.joinpath(remote_file(name)).write_text(json.dumps(config))
        else:
            make(VM(home.vms / name), config)

    def tart(
        self, *argv: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the program there, of which `calls` says nothing."""
        if self.host is not None:
            return self.host.run(["env", "TART_UNTOLD=1", "tart", *argv], check=check)
        done = subprocess.run(
            [self.bin / "tart", *argv],
            env=os.environ | self.environment | {"TART_UNTOLD": "1"},
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECS,
        )
        assert done.returncode == 0 or not check, f"{argv} ended with {done}"
        return done

    def calls(self, *steps: str) -> list[Call]:
        """The calls so far, or those of some subcommands."""
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        calls = [Call(tuple(entry["argv"]), entry["pid"], entry["time"]) for entry in entries]
        return [call for call in calls if not steps or call.step in steps]

    def vms(self) -> dict[str, str]:
        """What each VM does: "running" or "stopped"."""
        return {vm.name: vm.info()["State"] for vm in Home(self.home).local()}

    def config(self, name: str) -> dict[str, Any]:
        """What a VM was made and set to be."""
        return VM(self.home / "vms" / name).config()

    def disk(self, name: str) -> Path:
        """What was written in a VM, as its paths: `/private/var/...`, `/Users/admin/...`."""
        return self.home / "vms" / name / "upper"

    def fail(self, step: Step, kind: Kind = "fail", **details: Any) -> None:  # noqa: ANN401
        """Have a step go wrong: see `faults.Fault`."""
        Faults(self.home).add(Fault(step, kind, **details))

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        Faults(self.home).clear()

    def crash(self, name: str) -> None:
        """Have a VM stop with an error; as there, `tart run` says so and ends with 0."""
        self._order(name, "crash")
        _wait_for(lambda: self.vms().get(name) != "running", f"{name} doesn't crash")

    def lose_agent(self, name: str) -> None:
        """Have a VM's guest agent end, for good; what it has started goes on."""
        self._order(name, "lose_agent")

    def kill(self, name: str) -> None:
        """Kill `tart run` of a VM."""
        if pid := VM(self.home / "vms" / name).runner():
            os.kill(pid, signal.SIGKILL)
        _wait_for(lambda: self.vms().get(name) != "running", f"{name} doesn't end")

    def run_by_hand(self, name: str, *argv: str) -> None:
        """Run a VM as a user of the Mac does; it is made if it is missing."""
        if name not in self.vms():
            self.add_base(name)
        words = ["run", name, "--no-graphics", *argv]
        if self.host is not None:
            line = 'TART_UNTOLD=1 setsid tart "$@" </dev/null >/dev/null 2>&1 &'
            self.host.run(["sh", "-c", line, "sh", *words])
        else:
            told = {"TART_UNTOLD": "1", "TART_LIVES_AS_STDIN": "1"}
            process = subprocess.Popen(
                [self.bin / "tart", *words],
                env=os.environ | self.environment | told,
                # Whatever becomes of the tests, it ends with them.
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
            self._by_hand.append(process)
        deadline = time.monotonic() + STARTED_SECS
        while self.tart("exec", name, "true", check=False).returncode:
            assert time.monotonic() < deadline, f"{name} doesn't run"
            time.sleep(POLL_SECS)

    def end(self) -> None:
        """End all VMs, and leave nothing."""
        for name in self.vms():
            self.kill(name)
        for process in self._by_hand:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(ENDED_SECS)
        for vm in Home(self.home).local():
            vm.remove()
        for name in ("tart", "uname"):
            self.bin.joinpath(name).unlink(missing_ok=True)
        # Calls that hang come to an end without it.
        VM(self.home).remove()

    def _order(self, name: str, what: str) -> None:
        self.tart("fake-order", name, what)

    def _write(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)


@contextlib.contextmanager
def one_mac(directory: Path) -> Iterator[Mac]:
    """This machine as a Mac, for processes with its `environment`."""
    only_root_can("make this machine a Mac")
    mac = Mac(directory / "tart", directory / "bin")
    mac.install()
    try:
        yield mac
    finally:
        mac.end()


@contextlib.contextmanager
def one_far_mac(host: FarHost) -> Iterator[Mac]:
    """A far host as a Mac: all its sessions have `tart`, with the usual `~/.tart`."""
    mac = Mac(host.directory / "home" / ".tart", host.directory / "bin", host)
    mac.install()
    try:
        yield mac
    finally:
        mac.end()


def _wait_for(come: Any, otherwise: str) -> None:  # noqa: ANN401
    deadline = time.monotonic() + ENDED_SECS
    while not come():
        assert time.monotonic() < deadline, otherwise
        time.sleep(POLL_SECS)
