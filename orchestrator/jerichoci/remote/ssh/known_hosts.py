"""Which host keys are the right ones for a host.

Only names are looked up, as OpenSSH does: an address that a name resolves to is whatever the
resolver answers, and would let any known host pose as any other.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.public_key import get_public_key_algs

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

SSH_PORT = 22

_LINE = re.compile(r"(?P<names>[^\s@#]\S*)\s+(?P<kind>[a-z][\w@.-]*)\s+AAAA")
_ANY_KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"
"""Replaces a key that asyncssh can't read: the names before it can be read."""


@dataclass(frozen=True)
class KnownHosts:
    """The host keys of one host: by its fingerprint, or else by the known_hosts files."""

    host: str
    port: int
    alias: str | None
    """The name to look up instead of the host's."""
    fingerprint: str | None
    files: Sequence[str]

    @property
    def name(self) -> str:
        """What a line in known_hosts calls the host."""
        if self.alias or self.port == SSH_PORT:
            return self._bare
        return f"[{self._bare}]:{self.port}"

    @property
    def _bare(self) -> str:
        return self.alias or self.host.lower()

    @property
    def own(self) -> Sequence[asyncssh.SSHKey]:
        """The keys of exactly this name and port."""
        return self._read[0].match(self.name, "", None)[0]

    @cached_property
    def found(self) -> tuple[Sequence[asyncssh.SSHKey], ...]:
        """Keys, authorities and revoked keys of the name with its port and without."""
        lines = self._read[0]
        names = dict.fromkeys((self.name, self._bare))
        rows = zip(*(lines.match(name, "", None)[:3] for name in names), strict=True)
        return tuple([key for keys in row for key in keys] for row in rows)

    def match(self, _host: str, _address: str, _port: int | None) -> tuple[object, ...]:
        """What asyncssh asks a `known_hosts` for."""
        return *(((), (), ()) if self.fingerprint else self.found), (), (), (), ()

    @property
    def strange_kinds(self) -> list[str]:
        """The kinds of keys that ssh knows for the host, and asyncssh doesn't."""
        kinds = self._read[1]
        return sorted({kind for kind, line in kinds if line.match(self.name, "", None)[0]})

    def order(self, algorithms: Sequence[str]) -> list[str]:
        """The allowed algorithms for host keys, those of known keys first.

        The others are kept: a host that has only those has another key than expected, which is
        worth a better sentence than that there is nothing in common.
        """
        keys, authorities, _ = ((), (), ()) if self.fingerprint else self.found
        known = {name.decode() for key in keys for name in key.sig_algorithms}
        usable = [name for name in algorithms if authorities or "-cert-" not in name]
        return sorted(
            usable or algorithms, key=lambda name: "-cert-" not in name and name not in known
        )

    @cached_property
    def _read(self) -> tuple[asyncssh.SSHKnownHosts, list[tuple[str, asyncssh.SSHKnownHosts]]]:
        """The lines of the files, and those with keys of kinds that asyncssh doesn't know."""
        lines, strange = asyncssh.SSHKnownHosts(), []
        known = {name.decode() for name in get_public_key_algs()}
        for name in self.files:
            try:
                texts = Path(name).read_text("utf-8", "replace").splitlines()
            except OSError:  # as for ssh, a missing file is an empty one
                continue
            for text in texts:
                with suppress(ValueError):  # an invalid line hides no other
                    lines.load(text)
                    found = _LINE.match(text)
                    if found and found["kind"] not in known:
                        line = asyncssh.SSHKnownHosts(f"{found['names']} {_ANY_KEY}")
                        strange.append((found["kind"], line))
        return lines, strange
