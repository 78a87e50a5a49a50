"""The gate of a guest on a bridge: what its interface lets into the host, and nothing else.

The rules are a table of nftables in the family `bridge`, of this guest alone, for what comes from
its interface: they are there before the guest is, hold for the host, for other guests on the bridge
and for what is forwarded, and need no tracking of connections. When this process dies, what is
allowed runs out within a minute. The table is removed when the interface is gone: by this process,
or by the next one that looks (`remove_left`), which finds it by its note.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.gather import meanwhile
from jerichoci.machine.network_gate import (
    NEIGHBOURS,
    PASSES,
    PERIOD_SECS,
    SETS,
    Gate,
    nft,
    program_path,
)
from jerichoci.state.layout import make_private
from jerichoci.state.lock import try_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FAMILY = "bridge"
KEEP_SECS = 3600.0
"""As of `Gate`: a download may last longer than an address is the name's first one."""
GONE_SECS = 10.0
"""For the guest's interface to be gone; it takes one second at most."""
LOOK_SECS = 0.02
RULES = """
table bridge {table} {{ {sets}
  set near6 {{ type ipv6_addr; flags interval; elements = {{ fe80::/10, ff02::/16{near} }}; }}
  chain from_guest {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "{interface}" accept
    ether type arp accept
    ip daddr 255.255.255.255 udp dport 67 accept
    ip6 daddr ff02::1:2 udp dport 547 accept
    ip6 daddr @near6 {neighbours} accept
{passes}
    drop
  }}
}}
"""
"""DHCP is asked by broadcast and neighbours on the link alone: nothing of it is forwarded.

Not every kernel can reject in this family, so the rest is dropped.
"""


@asynccontextmanager
async def guest_gate(
    notes: Path, bridge: str, interface: str, allow: Sequence[str], hosts: Path
) -> AsyncIterator[None]:
    """Let the guest whose interface will be called so reach these; keep its hosts file.

    Raises:
        UsageError: this host can't.
    """
    if os.geteuid() != 0 or shutil.which("nft", path=program_path()) is None:
        raise UsageError(
            "`network.allow` of a guest needs root and nftables on its host",
            "run it there as root, with nftables installed",
        )
    if not has_interface(bridge):
        raise UsageError(
            f"`network.allow` can't be kept: bridge {bridge} is in another network namespace",
            "run it where Incus runs",
        )
    await asyncio.to_thread(remove_left, notes)
    gate = Gate(allow, hosts, KEEP_SECS)
    table = table_of(interface)
    with try_lock(notes / interface) as held:
        if not held:
            raise InfrastructureError(f"another guest has the interface {interface}")
        near = "".join(f", {address}" for address in addresses6(bridge))
        rules = RULES.format(
            table=table,
            interface=interface,
            near=near,
            sets=SETS,
            passes=PASSES,
            neighbours=NEIGHBOURS,
        )
        try:
            await asyncio.to_thread(nft, rules)
            await asyncio.to_thread(_look, gate, table)
        except OSError as error:
            raise InfrastructureError(f"the guest's network could not be kept: {error}") from error
        try:
            async with meanwhile(_keep_looking(gate, table)):
                yield
        finally:
            await _gone(interface)
            _remove(notes / interface)


def has_interface(name: str) -> bool:
    """Whether this process's network namespace has an interface; /sys may show another one's."""
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def table_of(interface: str) -> str:
    """The name of the table of a guest's interface."""
    return f"pikaci_{interface}"


def addresses6(interface: str) -> list[str]:
    """The IPv6 addresses of an interface of this host."""
    found = []
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, *_, name = line.split()
        if name == interface and not digits.startswith("fe8"):
            found.append(":".join(digits[at : at + 4] for at in range(0, 32, 4)))
    return found


def remove_left(notes: Path) -> None:
    """Remove the tables of processes that have died, whose guests are gone."""
    for note in [*notes.iterdir()] if notes.is_dir() else []:
        with try_lock(note) as held:
            if held:
                _remove(note)


def _remove(note: Path) -> None:
    """Remove a table whose note is locked, unless its guest is still there."""
    if has_interface(note.name):
        return
    with suppress(OSError):  # it was never made
        nft(f"delete table {FAMILY} {table_of(note.name)}\n")
    note.unlink(missing_ok=True)


def _look(gate: Gate, table: str) -> None:
    found = gate.look()
    nft(gate.rules(FAMILY, table))
    gate.write_hosts(found)


async def _keep_looking(gate: Gate, table: str) -> None:
    while True:
        await asyncio.sleep(PERIOD_SECS)
        with suppress(OSError):  # what is allowed runs out, unless the next one succeeds
            await asyncio.to_thread(_look, gate, table)


async def _gone(interface: str) -> None:
    for _ in range(int(GONE_SECS / LOOK_SECS)):
        if not has_interface(interface):
            return
        await asyncio.sleep(LOOK_SECS)


def prepare(directory: Path) -> Path:
    """Make the directory of a hosts file, which has nothing yet."""
    make_private(directory)
    hosts = directory / "hosts"
    hosts.touch(0o644)
    hosts.chmod(0o644)
    return hosts
