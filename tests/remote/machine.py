"""A far host's processes: PID, mount and host name namespaces of its own over files that stay.

Its first process reads a pipe of the tests' and ends when they do, whatever becomes of them; with
it everything in the namespace ends, daemons as well.

What it has for itself: `/nix` (empty at first), `/tmp`, `/run` and `/dev/shm` (gone when it goes
off), root's home directory, and its boot ID. All else is this machine's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remote.slot import Slot, program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STARTED_SECS = 30
ENDED_SECS = 30
COMMAND_SECS = 120
POLL_SECS = 0.02

NAMESPACES = ("--mount", "--pid", "--uts")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NIX_CONF = """
experimental-features = nix-command flakes
build-users-group =
substituters =
sandbox = false
"""

# Ended children are nobody's: the first process waits for none.
BOOT = """
set -eu
trap '' CHLD
cd "$1"
hostname "$2"
# What the host's Nix is made of may lie below what it doesn't see.
number=0
for program in "${@:3}"; do
  mkdir -p "programs/$((number += 1))"
  mount --bind "$program" "programs/$number"
done
for mounted in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$mounted"; done
chmod 755 /run
number=0
for program in "${@:3}"; do
  mkdir -p "$program"
  mount --bind "programs/$((number += 1))" "$program"
done
mkdir -m 755 /run/sshd
mount --bind nix /nix
mount --bind boot_id /proc/sys/kernel/random/boot_id
mount --bind passwd /etc/passwd
mount --bind shadow /etc/shadow
cd /
echo
exec cat >/dev/null
"""


@dataclass(frozen=True)
class Process:
    """One that runs on a far host, by the PID it has there."""

    pid: int
    parent: int
    name: str
    command_line: str

    @property
    def is_sshd(self) -> bool:
        # Newer ones have programs of their own for a session.
        return self.name.startswith("sshd")


class Machine:
    """A far host without its network and sshd."""

    def __init__(self, slot: Slot, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.directory = slot.directory
        self.home = slot.directory / "home"
        self.work_dir = slot.directory / "work"
        self.environment = {
            "PATH": f"{slot.directory / 'bin'}:{SYSTEM_PATH}",
            "HOME": str(self.home),
            "NIX_CONF_DIR": str(slot.directory / "etc"),
            **environment,
        }
        """What a session has beside what sshd itself gives it."""
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._network: Path | None = None

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def install(self) -> None:
        """Make the files that the host has when it is first switched on."""
        Path("/nix").mkdir(exist_ok=True)
        for name in ("nix", "bin", "etc"):
            self.directory.joinpath(name).mkdir()
        self.home.mkdir(mode=0o700)
        self.work_dir.mkdir(mode=0o711)
        self.directory.joinpath("etc", "nix.conf").write_text(NIX_CONF)
        self._link_nix()
        lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
        root = f"root:x:0:0:root:{self.home}:/bin/bash\n"
        others = [line for line in lines if not line.startswith("root:")]
        self.directory.joinpath("passwd").write_text("".join([root, *others]))
        shadow = self.directory / "shadow"
        shadow.touch(mode=0o600)
        shadow.write_text("root:*:20000:0:99999:7:::\n")

    def _link_nix(self) -> None:
        # Nothing more of the tests' PATH: the far host has none of their Python packages.
        nix = shutil.which("nix")
        assert nix is not None, "there is no nix: ci/bootstrap/nix.sh installs it"
        assert not Path(nix).resolve().is_relative_to("/nix"), f"{nix} isn't there on a far host"
        for tool in Path(nix).parent.glob("nix*"):
            self.directory.joinpath("bin", tool.name).symlink_to(tool)

    def boot(self, network: Path) -> None:
        """Start the first process, with another boot ID."""
        assert self._process is None, f"{self.name} runs already"
        self.directory.joinpath("boot_id").write_text(f"{uuid.uuid4()}\n")
        unshare = [program("unshare"), *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        boot = ["bash", "-c", BOOT, "boot", str(self.directory), self.name, *_nix_places()]
        log = self.directory / "boot.log"
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [program("nsenter"), f"--net={network}", *unshare, *boot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={"PATH": SYSTEM_PATH},
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), f"{self.name} doesn't boot: {log.read_text()}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._first = int(children.read_text())
        self._network = network

    def end(self) -> None:
        """End everything that runs there, at once."""
        if self._process is None:
            return
        # When it has ended so has all else in its namespace.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first or self._process.pid, 9)
        self._process.communicate(timeout=ENDED_SECS)
        self._process = None
        self._first = 0

    def entering(self, argv: Sequence[str]) -> list[str]:
        """What runs a command there."""
        assert self._first, f"{self.name} is off"
        target = [f"--target={self._first}", "--mount", "--pid", "--uts", f"--net={self._network}"]
        return [program("nsenter"), *target, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there as a session's, and wait for it."""
        session = ["env", "--chdir", str(self.home), *argv]
        done = subprocess.run(
            self.entering(session),
            env={"USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash"}
            | self.environment
            | dict(environment or {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECS,
        )
        assert done.returncode == 0 or not check, f"{argv} ended with {done}"
        return done

    def all_processes(self) -> list[Process]:
        """What runs there but the first process, also in namespaces below."""
        assert self._first, f"{self.name} is off"
        found = []
        for entry in Path(f"/proc/{self._first}/root/proc").iterdir():
            if not entry.name.isdecimal() or entry.name == "1":
                continue
            # It may end meanwhile.
            with contextlib.suppress(OSError):
                words = entry.joinpath("cmdline").read_bytes().split(b"\0")
                status = entry.joinpath("status").read_text().splitlines()
                fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
                if not fields["State"].startswith("Z"):
                    line = os.fsdecode(b" ".join(words).strip())
                    parent = int(fields["PPid"])
                    found.append(Process(int(entry.name), parent, fields["Name"], line))
        return found

    def kill(self, chosen: Callable[[Process], bool]) -> None:
        """Kill processes until there is none of the kind."""

        def those() -> list[Process]:
            return [process for process in self.all_processes() if chosen(process)]

        def killed() -> bool:
            left = [str(process.pid) for process in those()]
            if left:
                command = ["sh", "-c", 'kill -KILL "$@"', "sh", *left]
                self.run(command, check=False, environment={"LD_PRELOAD": ""})
            return not left

        wait_for(killed, ENDED_SECS, f"processes don't end: {those()}")


def wait_for(come: Callable[[], bool], secs: float, otherwise: str) -> None:
    """Wait until something has come."""
    deadline = time.monotonic() + secs
    while not come():
        assert time.monotonic() < deadline, otherwise
        time.sleep(POLL_SECS)


def _nix_places() -> list[str]:
    """The directories that the tests' Nix is in: of its wrappers, where it has any, and its own."""
    nix = shutil.which("nix")
    assert nix is not None, "there is no nix: ci/bootstrap/nix.sh installs it"
    places = [Path(nix).parent, Path(nix).resolve().parent.parent]
    found = re.search(rb"^exec '([^']+)/bin/nix'", Path(nix).read_bytes()[:4096], re.MULTILINE)
    if found:
        places.append(Path(os.fsdecode(found[1])))
    return [str(place) for place in dict.fromkeys(places)]
