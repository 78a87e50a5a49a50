"""A far host's network: a namespace of its own, and a cable to this machine.

The namespace lives as long as a process that reads a pipe of the tests': whatever becomes of them,
nothing of it is left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from remote.slot import Slot, program

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND_SECS = 30
ENDED_SECS = 30
FAR_END = "eth0"


class Cable:
    """A link between this machine and a network namespace, which may be cut."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        # What the far end is called while it is here.
        self._spare_end = f"{slot.interface}p"
        self._holder: subprocess.Popen[bytes] | None = None

    @property
    def namespace(self) -> Path:
        """The far end's network namespace."""
        assert self._holder is not None, "the far host is off"
        return Path(f"/proc/{self._holder.pid}/ns/net")

    def lay(self) -> None:
        """Make both ends; the far one is nowhere yet."""
        here = self._slot.interface
        _ip("link", "add", here, "type", "veth", "peer", "name", self._spare_end)
        _ip("addr", "add", f"{self._slot.here}/30", "dev", here)
        _ip("link", "set", here, "up")

    def plug_in(self) -> None:
        """Give the far end a network stack that knows of no connection."""
        assert self._holder is None, "the far end is plugged in already"
        self._holder = subprocess.Popen(
            # Its output tells when the namespace is there.
            [program("unshare"), "--net", "sh", "-c", "echo; exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        _ip("link", "set", self._spare_end, "netns", str(self._holder.pid))
        self._ip_there("link", "set", self._spare_end, "name", FAR_END)
        self._ip_there("addr", "add", f"{self._slot.there}/30", "dev", FAR_END)
        self._ip_there("link", "set", "lo", "up")
        self.join()
        # A cut must be silent: without this, nobody's answering is soon "no route to host".
        shown = self._ip_there("-o", "link", "show", FAR_END)
        address = shown.split("link/ether ")[1].split()[0]
        neighbour = [self._slot.there, "lladdr", address, "dev", self._slot.interface]
        _ip("neigh", "replace", *neighbour, "nud", "permanent")

    def cut(self) -> None:
        """Lose every packet from now on, in both directions; nobody is told."""
        self._ip_there("link", "set", FAR_END, "down")

    def join(self) -> None:
        """Lose no more packets."""
        self._ip_there("link", "set", FAR_END, "up")

    def unplug(self) -> None:
        """Take the network stack away with all its connections; nobody is told."""
        self.cut()
        self._ip_there("link", "set", FAR_END, "name", self._spare_end)
        self._ip_there("link", "set", self._spare_end, "netns", str(os.getpid()))
        self._end_holder()

    def remove(self) -> None:
        """Remove all there is of it, however far it came."""
        if Path("/sys/class/net", self._slot.interface).exists():
            _ip("link", "delete", self._slot.interface)
        if self._holder is not None:
            self._end_holder()

    def _end_holder(self) -> None:
        assert self._holder is not None
        self._holder.kill()
        self._holder.communicate(timeout=ENDED_SECS)
        self._holder = None

    def _ip_there(self, *arguments: str) -> str:
        return _run("nsenter", f"--net={self.namespace}", program("ip"), *arguments)


@contextlib.contextmanager
def cable(slot: Slot) -> Iterator[Cable]:
    """A cable whose far end isn't plugged in yet."""
    made = Cable(slot)
    try:
        made.lay()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [program(name), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECS,
    )
    assert done.returncode == 0, f"{name} {' '.join(arguments)} failed: {done.stderr}"
    return done.stdout
