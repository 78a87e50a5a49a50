"""The keys to log in with, in ssh's order: the one asked for, the agent's, those of ~/.ssh."""

from __future__ import annotations

import copy
from base64 import b64decode
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.packet import SSHPacket
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from jerichoci.remote.ssh.errors import KeyFileError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jerichoci.remote.ssh.configuration import Configuration
    from jerichoci.remote.ssh.hop import Hop


@dataclass
class LoginKeys:
    """Keys in the order in which they are offered, and remarks on those that aren't."""

    algorithms: frozenset[str]
    """To sign with, as ssh's configuration allows them."""
    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Where they are from."""
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, pairs: Sequence[asyncssh.SSHKeyPair]) -> None:
        """Offer one more key, with and without its certificates."""
        if self.algorithms.intersection(kind.decode() for kind in pairs[0].sig_algorithms):
            self.names.append(name)
            self.pairs += pairs
        else:
            self.remarks.append(f"{name} is of no kind that `PubkeyAcceptedAlgorithms` allows")


class _UnusableError(Exception):
    """Why a key file can't be used, and what to do."""


@asynccontextmanager
async def login_keys(hop: Hop, config: Configuration) -> AsyncIterator[LoginKeys]:
    """All keys for a hop; those of the agent work until the end of the block."""
    accepted = config.get("pubkeyacceptedalgorithms") or ""
    keys = LoginKeys(frozenset(accepted.split(",")))
    if config.get("pkcs11provider") is not None:
        keys.remarks.append("`PKCS11Provider` is not asked for keys")
    files = [str(hop.config.key_path)] if hop.config.key else config.files("identityfile")
    named = [_public(Path(name)) for name in files]
    certificates = _certificates(
        [*config.files("certificatefile"), *(f"{name}-cert.pub" for name in files)]
    )
    async with _agent(config.agent, keys) as held:
        known = {pair.key_public_data for pair in held}
        only_files = [
            (name, public)
            for name, public in zip(files, named, strict=True)
            if public not in known and (hop.config.key or Path(name).exists())
        ]
        if hop.config.key:
            _add_files(keys, only_files, certificates, hop)
        for pair in sorted(held, key=lambda pair: _place(pair.key_public_data, named)):
            if not config.is_on("identitiesonly") or pair.key_public_data in named:
                name = f"the agent's {pair.get_comment() or 'key'}"
                keys.add(name, [*_certified(pair, certificates), pair])
        if not hop.config.key:
            _add_files(keys, only_files, certificates, hop)
        yield keys


def _add_files(
    keys: LoginKeys,
    files: Sequence[tuple[str, bytes | None]],
    certificates: Sequence[asyncssh.SSHCertificate],
    hop: Hop,
) -> None:
    for name, public in files:
        try:
            keys.add(name, _load(Path(name), public, certificates))
        except _UnusableError as error:
            why, hint = error.args
            if hop.config.key:
                message = f"the key {name} for {hop.called} {why}"
                raise KeyFileError(hop.host, message, hint) from error
            keys.remarks.append(f"{name} {why}")


def _load(
    path: Path, public: bytes | None, certificates: Sequence[asyncssh.SSHCertificate]
) -> Sequence[asyncssh.SSHKeyPair]:
    try:
        kind = SSHPacket(public).get_string() if public else b""
        if kind and kind not in {*get_public_key_algs(), *get_certificate_algs()}:
            raise _UnusableError(
                f"is of kind {kind.decode('ascii', 'replace')}, which pikaci does not know",
                "name a key of another kind: `ssh-keygen -t ed25519` makes one",
            )
        return asyncssh.load_keypairs([str(path)], None, certificates)
    except OSError as error:
        raise _UnusableError(
            f"could not be read: {error.strerror}",
            "name the file of a private key that you may read",
        ) from error
    except ValueError as error:
        if isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error):
            raise _UnusableError(
                "is encrypted, and no agent has it", f"give it to one: `ssh-add {path}`"
            ) from error
        raise _UnusableError(
            f"is not a private key: {error}",
            "name the file of a private key, or of a public one that the agent has",
        ) from error


def _certified(
    pair: asyncssh.SSHKeyPair, certificates: Sequence[asyncssh.SSHCertificate]
) -> list[asyncssh.SSHKeyPair]:
    """An agent's key with each certificate for it."""
    found = []
    for certificate in certificates:
        if certificate.key.public_data == pair.key_public_data:
            found.append(copy.copy(pair))
            found[-1].set_certificate(certificate)
    return found


def _certificates(names: Sequence[str]) -> list[asyncssh.SSHCertificate]:
    found = []
    for name in names:
        # As for ssh, a missing or invalid one is skipped.
        with suppress(OSError, ValueError):
            found.append(asyncssh.read_certificate(name))
    return found


def _place(public: bytes, order: Sequence[bytes | None]) -> int:
    return order.index(public) if public in order else len(order)


@asynccontextmanager
async def _agent(
    socket: str | None, keys: LoginKeys
) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    """The keys of the agent at a socket."""
    if not socket:
        keys.remarks.append("no ssh agent is running")
        yield ()
        return
    try:
        agent = await asyncssh.connect_agent(socket)
    except OSError as error:
        keys.remarks.append(f"no ssh agent answers at {socket}: {error.strerror or error}")
        yield ()
        return
    async with agent:
        try:
            held = await agent.get_keys()
        except ValueError as error:
            keys.remarks.append(f"the ssh agent did not list its keys: {error}")
            held = ()
        yield held


def _public(path: Path) -> bytes | None:
    """The public half of a key of any kind, from its own file or from that of the private one."""
    for name in (Path(f"{path}.pub"), path):
        with suppress(OSError, ValueError, IndexError):
            text = name.read_text("ascii")
            if not text.startswith("-----"):
                return b64decode(text.split()[1], validate=True)
            packet = SSHPacket(b64decode(text.split("-----")[2]).removeprefix(b"openssh-key-v1\0"))
            # The cipher, the derivation of its key and the options of that; the number of keys.
            for _ in range(3):
                packet.get_string()
            packet.get_uint32()
            return packet.get_string()
    return None
