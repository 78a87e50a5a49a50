"""The network of a job on a host that reaches some addresses and no others.

It has a network namespace of its own, which slirp4netns connects: that needs no root, forwards no
packet, and leaves the host's firewall alone.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine.network_gate import HOSTS
from jerichoci.placement import Placement, operations
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = Path(__file__).parents[1] / "machine/network_gate.py"
TOOLS = ("python3", "nft", "slirp4netns", "ip", "nsenter", "setpriv")
LOOK_SECS = 30.0
_MISSING = """
PATH=$PATH:/usr/sbin:/sbin
for tool; do command -v "$tool" >/dev/null || echo "$tool"; done
"""
_SETUP = """
exec {{gate}}< <(exec </dev/null; exec unshare --mount python3 -IS {directory}/gate.py {words})
read -r gate_word gate_path <&"$gate" && [ "$gate_word" = ready ] || exit 125
exec {{gate}}<&-
: >{directory}/net && mount --bind "$gate_path" {directory}/net || exit 125
mount --bind {directory}/hosts /etc/hosts && mount -o remount,bind,ro /etc/hosts || exit 125
for gate_path in /run/systemd/resolve /run/nscd /var/run/nscd; do
  [ ! -d "$gate_path" ] || mount -t tmpfs -o ro pikaci "$gate_path" || exit 125
done
[ ! -f /etc/resolv.conf ] || mount --bind {directory}/resolv.conf /etc/resolv.conf || exit 125
unset gate gate_word gate_path
"""
"""The program has a mount namespace of its own, to ask the host's DNS, not what the job has for it.

Programs that answer for names through a Unix socket are hidden: they would ask the network.
"""


@dataclass(frozen=True)
class HostGate:
    """The gate of one attempt; `directory` is on its host."""

    allow: Sequence[str]
    directory: Path

    async def make(self, placement: Placement) -> None:
        """Have on the host what the job's first process starts.

        Raises:
            UsageError: the host lacks a program.
        """
        argv = ["sh", "-c", _MISSING, "sh", *TOOLS]
        done = await placement.run(argv, deadline_secs=LOOK_SECS)
        if missing := done.stdout.decode().split():
            raise UsageError(
                f"`network.allow` needs {', '.join(missing)} on {placement.host}",
                "install nftables, slirp4netns and iproute2 there",
            )
        await placement.do(operations.make_directory, self.directory)
        await placement.do(operations.write, self.directory / "gate.py", PROGRAM.read_bytes())
        await placement.do(operations.write, self.directory / HOSTS, b"")
        await placement.do(operations.write, self.directory / "resolv.conf", b"")

    def setup_text(self) -> str:
        """The shell text by which a job's first process opens the gate."""
        directory = shlex.quote(str(self.directory))
        return _SETUP.format(
            directory=directory, words=shlex.join([str(self.directory), *self.allow])
        )

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs the command in the namespace, without the right to change its rules."""
        without = ("--inh-caps=-net_admin", "--bounding-set=-net_admin")
        return ("nsenter", f"--net={self.directory}/net", "--", "setpriv", *without, "--")
