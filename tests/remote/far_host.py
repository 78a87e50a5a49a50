"""Hosts that ssh reaches, on this machine: a real sshd behind a cable of its own.

Each has its own address, store, home directory, `/tmp`, `/run` and boot ID; see `machine`. Its
work directory lies at the same path on this machine, for what must see both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from remote.cable import Cable, cable
from remote.machine import ENDED_SECS, STARTED_SECS, Machine, Process, wait_for
from remote.plain_sshd import fingerprint, make_key, public_key, write_config
from remote.slot import Slot, own_slot, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PORT = 2222
LOG_LINES = 20
FAKETIME = "faketime/libfaketime.so.1"


class FarHost:
    """A host that is reached by ssh as root with `client_key`, and by nothing else."""

    port = PORT

    def __init__(
        self,
        slot: Slot,
        machine: Machine,
        cable: Cable,
        sshd_options: Sequence[str] = (),
    ) -> None:
        self.name = machine.name
        self.address = slot.there
        self.directory = slot.directory
        self.work_dir = machine.work_dir
        self.home = machine.home
        self.environment: Mapping[str, str] = machine.environment
        """What every session has, beside what sshd gives it."""
        self._machine = machine
        self._cable = cable
        self._options = sshd_options
        self._log = slot.directory / "sshd.log"
        self._sshd: subprocess.Popen[bytes] | None = None

    @property
    def client_key(self) -> Path:
        """The private key that may log in."""
        return self.directory / "client_key"

    @property
    def host_key_fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: `SHA256:...`."""
        return fingerprint(self.directory / "host_ed25519")

    @property
    def known_hosts_line(self) -> str:
        """What a known_hosts file says of it."""
        return f"[{self.address}]:{self.port} {public_key(self.directory / 'host_ed25519')}"

    @property
    def nix_dir(self) -> Path:
        """Where its `/nix` lies on this machine."""
        return self.directory / "nix"

    def boot_id(self) -> str:
        """What the host itself says, of a kernel that this machine has as well."""
        return self.directory.joinpath("boot_id").read_text().strip()

    def hosts_toml(self, **extra: object) -> str:
        """Its table in a hosts file; an extra None takes a key away, a mapping is a table."""
        values: dict[str, object] = {
            "address": self.address,
            "port": self.port,
            "user": "root",
            "key": str(self.client_key),
            "fingerprint": self.host_key_fingerprint,
            "work_dir": str(self.work_dir),
        }
        lines = [f"[hosts.{self.name}]"]
        for key, value in (values | extra).items():
            if value is not None:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join([*lines, ""])

    def log(self) -> str:
        """What sshd has said."""
        return self._log.read_text()

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, without ssh, in a session's environment and directory."""
        return self._machine.run(argv, check=check, stdin=stdin, environment=environment)

    def processes(self) -> list[str]:
        """The command lines of what runs there beside sshd, daemons and nested ones included."""
        found = self._machine.all_processes()
        # What has just ended has no command line any more.
        lines = [process.command_line for process in found if not process.is_sshd]
        return [line for line in lines if line]

    def cut(self) -> None:
        """Lose every packet from now on, in both directions; nobody is told."""
        self._cable.cut()

    def join(self) -> None:
        """Lose no more packets."""
        self._cable.join()

    def start_sshd(self) -> None:
        """Start sshd and wait until it listens."""
        assert self._sshd is None, "sshd runs already"
        with self._log.open("ab") as log:
            before = log.tell()
            argv = [program("sshd"), "-D", "-e", "-f", str(self.directory / "sshd_config")]
            self._sshd = subprocess.Popen(
                self._machine.entering(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": self.environment["PATH"]},
                start_new_session=True,
            )

        def listens() -> bool:
            assert self._sshd is not None
            assert self._sshd.poll() is None, f"sshd has ended: {self.log()[-2000:]}"
            return b"Server listening on " in self._log.read_bytes()[before:]

        wait_for(listens, STARTED_SECS, "sshd doesn't listen")

    def stop_sshd(self) -> None:
        """Kill sshd and all its sessions; what they have started may live on."""
        if self._sshd is None:
            return
        # First the one that would take more.
        self._machine.kill(_is_listener)
        self.kill_sessions()
        self._sshd.wait(ENDED_SECS)
        self._sshd = None

    def kill_sessions(self) -> None:
        """Kill every connection's sshd; the one that listens goes on."""
        self._machine.kill(lambda process: process.is_sshd and not _is_listener(process))

    def power_off(self) -> None:
        """Pull the plug: everything ends, and nobody is told; files stay."""
        self._cable.unplug()
        self._machine.end()
        if self._sshd is not None:
            self._sshd.wait(ENDED_SECS)
            self._sshd = None

    def power_on(self) -> None:
        """Boot with another boot ID, and start sshd."""
        self._cable.plug_in()
        self._machine.boot(self._cable.namespace)
        self.start_sshd()

    def reboot(self) -> None:
        """Pull the plug and boot again; after `stop_sshd` it is a reboot in order."""
        self.power_off()
        self.power_on()

    def mend(self) -> None:
        """Have it run and reachable, with nothing but sshd running, and without anybody's files.

        What is in its store stays, and the agent, which is brought to a host once.
        """
        if not self._machine.is_on:
            self.power_on()
        self.join()
        self.kill_sessions()
        self._machine.kill(lambda process: not process.is_sshd)
        if self._sshd is None:
            self.start_sshd()
        agent = self.work_dir / "agent"
        but_it = ["-not", "-path", str(agent), "-not", "-path", f"{agent}/*"]
        # Not shutil, for which directories may be nested too deep.
        argv = ["find", str(self.work_dir), str(self.home), "-mindepth", "1", *but_it, "-delete"]
        subprocess.run(argv, check=True, timeout=ENDED_SECS)

    def set_up(self) -> None:
        """Make its files, and switch it on for the first time."""
        self._machine.install()
        authorized = public_key(make_key(self.client_key))
        self.directory.joinpath("authorized_keys").write_text(f"{authorized}\n")
        pairs = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        options = [*self._options, f"SetEnv {pairs}"]
        write_config(self.directory, self.address, self.port, ["ed25519"], options)
        self.power_on()

    def end(self) -> None:
        """End everything that runs there, however far it came."""
        self._machine.end()
        if self._sshd is not None:
            self._sshd.wait(ENDED_SECS)
            self._sshd = None


@contextlib.contextmanager
def one_far_host(
    name: str = "far1",
    *,
    environment: Mapping[str, str] | None = None,
    sshd_options: Sequence[str] = (),
) -> Iterator[FarHost]:
    """A far host, and nothing of it afterwards; `environment` is every session's."""
    with own_slot() as slot, cable(slot) as wire:
        host = FarHost(slot, Machine(slot, name, environment or {}), wire, sshd_options)
        try:
            host.set_up()
            yield host
        finally:
            host.end()


@contextlib.contextmanager
def far_hosts(
    count: int,
    *,
    environment: Mapping[str, str] | None = None,
    sshd_options: Sequence[str] = (),
) -> Iterator[list[FarHost]]:
    """Far hosts called far1, far2 and so on."""
    with contextlib.ExitStack() as stack:
        hosts = [
            one_far_host(f"far{number}", environment=environment, sshd_options=sshd_options)
            for number in range(1, count + 1)
        ]
        yield [stack.enter_context(host) for host in hosts]


def clock_off_by(offset: str) -> dict[str, str]:
    """What gives a host's sessions a clock that is off: "+1h", or "-3600"."""
    libraries = sorted(Path("/usr/lib").glob(f"*/{FAKETIME}"))
    assert libraries, "there is no libfaketime: ci/bootstrap/ssh-packages.sh installs it"
    # Waiting takes as long as ever.
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _is_listener(process: Process) -> bool:
    # Whoever started it is outside its namespace.
    return process.is_sshd and process.parent == 0


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{key} = {_toml(inner)}" for key, inner in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value, default=str)
