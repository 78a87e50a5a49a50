"""Lets a job reach some addresses and no others: names are asked for again and again.

A job that is kept so has no DNS. What it knows of names is a hosts file, which changes with them,
and nftables passes what that file has: there is no moment at which one is ahead of the other.

As a program it is a process beside a job's first one, in its namespaces but for the network: it
makes the job's network namespace, which slirp4netns connects, and dies with the job.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PERIOD_SECS = 5.0
"""From one look at the names to the next: shorter than most records live."""
KEEP_SECS = 60.0
"""How long an address that a name doesn't have any more is let through."""
HOLDS_SECS = 60
"""How long the kernel holds to what it was told last, when this process has died."""
START_SECS = 20.0
HOSTS = "hosts"
NETWORK = "198.18.254.0/24"
"""Of the job's interface; for tests of devices (RFC 2544), so of no use outside."""
OWN_NAMES = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
SETS = """
  set allowed4 { type ipv4_addr . inet_service; flags timeout; }
  set allowed6 { type ipv6_addr . inet_service; flags timeout; }
"""
PASSES = """
    ip daddr . tcp dport @allowed4 accept
    ip6 daddr . tcp dport @allowed6 accept
"""
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }"
NAMESPACE_RULES = f"""
table inet pikaci {{ {SETS}
  chain out {{
    type filter hook output priority 0; policy drop;
    oif lo accept
    ct state established,related accept
{PASSES}
    {NEIGHBOURS} accept
    reject with icmpx type admin-prohibited
  }}
}}
"""
HOLDER = (
    "ip link set lo up && exec setpriv --inh-caps=-all --ambient-caps=-all"
    " sh -c 'echo up && exec sleep infinity'"
)
"""Without rights, or an ordinary user's slirp4netns may not look at its namespace."""


class Gate:
    """What is allowed now: `host:port`, or `[address]:port`, each for TCP."""

    def __init__(self, allow: Sequence[str], hosts: Path, keep_secs: float = KEEP_SECS) -> None:
        self._keep_secs = keep_secs
        self._allow = [split(entry) for entry in allow]
        self._hosts = hosts
        self._seen: dict[tuple[str, int], float] = {}
        """When each address was last one of a name's."""

    def look(self) -> dict[str, list[str]]:
        """Ask for the names; the addresses of each, of which this host can reach all."""
        now = time.monotonic()
        found: dict[str, list[str]] = {}
        for host, port in self._allow:
            if host not in found:
                found[host] = addresses_of(host)
            for address in found[host]:
                self._seen[address, port] = now
        self._seen = {key: at for key, at in self._seen.items() if now - at < self._keep_secs}
        return found

    def rules(self, family: str, table: str) -> str:
        """What has nftables pass exactly what is allowed, for a while."""
        lines = []
        for name, mark in (("allowed4", "."), ("allowed6", ":")):
            lines.append(f"flush set {family} {table} {name}")
            rows = [
                f"{address} . {port} timeout {HOLDS_SECS}s"
                for address, port in self._seen
                if (":" in address) == (mark == ":")
            ]
            if rows:
                lines.append(f"add element {family} {table} {name} {{ {', '.join(rows)} }}")
        return "\n".join(lines) + "\n"

    def write_hosts(self, found: dict[str, list[str]]) -> None:
        """Write the hosts file in place: it is mounted where the job has it."""
        rows = [
            f"{address} {host}\n"
            for host, addresses in found.items()
            for address in addresses
            if address != host
        ]
        text = (OWN_NAMES + "".join(rows)).encode()
        fd = os.open(self._hosts, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))
        finally:
            os.close(fd)


def split(entry: str) -> tuple[str, int]:
    """A host and a port."""
    host, _, port = entry.rpartition(":")
    return host.strip("[]"), int(port)


def addresses_of(host: str) -> list[str]:
    """The addresses that a name has now, as far as there is a way to them; none on an error."""
    try:
        rows = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    found = []
    for family, kind, _, _, place in rows:
        try:
            with socket.socket(family, kind) as there:
                there.connect(place)
        except OSError:
            continue
        found.append(str(place[0]).partition("%")[0])
    return list(dict.fromkeys(found))


def program_path() -> str:
    """Where an ordinary user finds root's programs, too."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def open_namespace() -> str:
    """Make a network namespace in which nothing passes, and connect it; its path."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", HOLDER], stdout=subprocess.PIPE)
    if holder.stdout is None or holder.stdout.readline() != b"up\n":
        raise OSError("a network namespace could not be made")
    namespace = f"/proc/{holder.pid}/ns/net"
    nft(NAMESPACE_RULES, namespace)
    with tempfile.TemporaryFile() as said:
        if not connect(namespace, said):
            said.seek(0)
            why = said.read().decode(errors="replace").strip()
            raise OSError(f"slirp4netns could not connect the job: {why}")
    return namespace


def connect(namespace: str, said: IO[bytes]) -> bool:
    """Start slirp4netns, which has no end; whether it is ready."""
    ready, told = os.pipe()
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--disable-dns"]
    options += ["--enable-ipv6", f"--cidr={NETWORK}", f"--ready-fd={told}", "--netns-type=path"]
    argv = ["slirp4netns", *options, namespace, "tap0"]
    subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=said, pass_fds=[told])
    os.close(told)
    try:
        return bool(select.select([ready], [], [], START_SECS)[0] and os.read(ready, 1))
    finally:
        os.close(ready)


def nft(rules: str, namespace: str | None = None) -> None:
    """Have nftables do all of it or nothing.

    Raises:
        OSError: it could not.
    """
    entering = ["nsenter", f"--net={namespace}"] if namespace else []
    argv = ["env", f"PATH={program_path()}", *entering, "nft", "-f", "-"]
    done = subprocess.run(argv, input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"nft failed: {' '.join(done.stderr.split())}")


def main() -> None:
    """Print `ready` and where the namespace is, once the job may begin."""
    directory, *allow = sys.argv[1:]
    # A job that is told to end may need the network for that.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.environ["PATH"] = program_path()
    gate = Gate(allow, Path(directory) / HOSTS)
    namespace = open_namespace()
    is_ready = False
    while True:
        found = gate.look()
        nft(gate.rules("inet", "pikaci"), namespace)
        gate.write_hosts(found)
        if not is_ready:
            for host in (host for host, addresses in found.items() if not addresses):
                sys.stderr.write(f"network.allow: {host} has no address now\n")
            sys.stdout.write(f"ready {namespace}\n")
            sys.stdout.flush()
            is_ready = True
        time.sleep(PERIOD_SECS)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"network.allow: {error}")
