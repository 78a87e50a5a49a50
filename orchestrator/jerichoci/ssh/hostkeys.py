"""Which host keys are the right ones for a host.

Names only are looked up, as OpenSSH does: an address that a name resolves to is whatever the
resolver says, and would let any host that is known stand in for any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from jerichoci.ssh.hop import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")

FAMILIES = {
    "ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Signatures of host keys that are good enough, by the name in a key file, the best first."""


@dataclass(frozen=True)
class KnownKeys:
    """What is known of one host."""

    own: Sequence[asyncssh.SSHKey] = ()
    """Keys under exactly its name and port."""
    accepted: Sequence[asyncssh.SSHKey] = ()
    """`own`, and those of its name without a port."""
    authorities: Sequence[asyncssh.SSHKey] = ()
    revoked: Sequence[asyncssh.SSHKey] = ()


@dataclass
class HostKeys:
    """Judges the key of a host, by its fingerprint or by the known_hosts files."""

    fingerprint: str | None
    files: Sequence[str]
    alias: str | None = None
    """The name to look up instead of the host's."""
    _lines: asyncssh.SSHKnownHosts | None = field(default=None, repr=False)

    def known(self, host: str, port: int) -> KnownKeys:
        """What the files know of a host; nothing, if a fingerprint settles it."""
        if self.fingerprint:
            return KnownKeys()
        if self._lines is None:
            self._lines = _read(self.files)
        name = self.name(host, port)
        own, authorities, revoked = self._lines.match(name, "", None)[:3]
        bare = self.alias or host.lower()
        if bare == name:
            return KnownKeys(own, own, authorities, revoked)
        portless = self._lines.match(bare, "", None)
        return KnownKeys(
            own,
            [*own, *portless[0]],
            [*authorities, *portless[1]],
            [*revoked, *portless[2]],
        )

    def name(self, host: str, port: int) -> str:
        """What a line in known_hosts calls a host."""
        if self.alias:
            return self.alias
        return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"

    def match(self, host: str, _address: str, port: int | None) -> tuple[object, ...]:
        """What asyncssh asks of a known_hosts."""
        known = self.known(host, port or SSH_PORT)
        return known.accepted, known.authorities, known.revoked, (), (), (), ()

    def accepts(self, key: asyncssh.SSHKey) -> bool:
        """Whether a key that no file knows is the right one all the same."""
        return self.fingerprint is not None and key.get_fingerprint() == self.fingerprint

    def algorithms(self, host: str, port: int, without: Iterable[str] = ()) -> list[str]:
        """What to ask the host for: keys that are known first, then all others.

        Others are asked for too, since a host that has only those has another key than expected,
        which is worth a better sentence than that there is nothing in common.
        """
        known = self.known(host, port)
        skipped = set(without)
        kinds = [key.get_algorithm() for key in known.accepted]
        families = sorted(
            (name for name in FAMILIES if name not in skipped),
            key=lambda name: all(family_of(kind) != name for kind in kinds),
        )
        plain = [algorithm for name in families for algorithm in FAMILIES[name]]
        plain.sort(key=lambda name: name not in kinds and not _is_rsa(name, kinds))
        certified = [f"{name}-cert-v01@openssh.com" for name in plain] if known.authorities else []
        return [*certified, *plain]


def family_of(algorithm: str) -> str:
    """The name in a key file of a key's algorithm."""
    for name in FAMILIES:
        if name in algorithm:
            return name
    return algorithm


def _is_rsa(algorithm: str, kinds: Sequence[str]) -> bool:
    return algorithm.startswith("rsa-") and "ssh-rsa" in kinds


def _read(files: Sequence[str]) -> asyncssh.SSHKnownHosts:
    known = asyncssh.SSHKnownHosts()
    for name in files:
        try:
            lines = Path(name).expanduser().read_text("utf-8", "replace").splitlines()
        except OSError:  # as for ssh: a file that isn't there knows nothing
            continue
        for line in lines:
            try:
                known.load(line)
            except ValueError:  # one bad line takes none of the others with it
                continue
    return known
