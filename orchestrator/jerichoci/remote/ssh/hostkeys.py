"""Which host keys are the right ones for a host.

Names only are looked up, as OpenSSH does: an address that a name resolves to is whatever the
resolver says, and would let any host that is known stand in for any other.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.public_key import get_public_key_algs

from jerichoci.remote.ssh.hop import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAMILIES = {
    "ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Signatures of host keys that are good enough, by the name in a key file, the best first."""

_LINE = re.compile(r"(?P<names>[^\s@#]\S*)\s+(?P<kind>[a-z][\w@.-]*)\s+AAAA")
_ANY_KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"
"""Stands for a key that can't be read: the names before it can."""


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
    _strange: list[tuple[str, asyncssh.SSHKnownHosts]] = field(default_factory=list, repr=False)
    """Lines with keys of kinds that asyncssh doesn't know, and those kinds."""

    def known(self, host: str, port: int) -> KnownKeys:
        """What the files know of a host; nothing, if a fingerprint settles it."""
        if self.fingerprint:
            return KnownKeys()
        if self._lines is None:
            self._lines = self._read()
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

    def strange_kinds(self, host: str, port: int) -> list[str]:
        """The kinds of the keys of a host that are known to ssh and not to us."""
        name = self.name(host, port)
        return sorted({kind for kind, lines in self._strange if lines.match(name, "", None)[0]})

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

    def _read(self) -> asyncssh.SSHKnownHosts:
        lines = asyncssh.SSHKnownHosts()
        known = {name.decode() for name in get_public_key_algs()}
        for name in self.files:
            try:
                texts = Path(name).read_text("utf-8", "replace").splitlines()
            except OSError:  # as for ssh: a file that isn't there knows nothing
                continue
            for text in texts:
                with suppress(ValueError):  # one bad line takes none of the others with it
                    lines.load(text)
                    found = _LINE.match(text)
                    if found and found["kind"] not in known:
                        strange = asyncssh.SSHKnownHosts(f"{found['names']} {_ANY_KEY}")
                        self._strange.append((found["kind"], strange))
        return lines


def family_of(algorithm: str) -> str:
    """The name in a key file of a key's algorithm."""
    for name in FAMILIES:
        if name in algorithm:
            return name
    return algorithm


def _is_rsa(algorithm: str, kinds: Sequence[str]) -> bool:
    return algorithm.startswith("rsa-") and "ssh-rsa" in kinds
