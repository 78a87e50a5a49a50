"""The keys to log in with: the one that is asked for, the agent's, and those in ~/.ssh."""

from __future__ import annotations

import copy
import os
from base64 import b64decode
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from jerichoci.remote.ssh.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jerichoci.remote.ssh.configuration import Configuration
    from jerichoci.remote.ssh.hop import Hop

ANOTHER_KIND = "`ssh-keygen -t ed25519` makes one of a kind that it knows"


@dataclass
class LoginKeys:
    """Keys in the order in which they are offered, and what is to say of those that aren't."""

    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    """Where each of `pairs` is from."""
    remarks: list[str] = field(default_factory=list)

    def add(self, pair: asyncssh.SSHKeyPair, origin: str) -> None:
        """Offer one more, unless it is among them."""
        if all(pair.public_data != other.public_data for other in self.pairs):
            self.pairs.append(pair)
            self.origins.append(origin)


@dataclass(frozen=True)
class KeySettings:
    """What ssh's configuration says of keys."""

    files: Sequence[str]
    certificates: Sequence[str]
    agent: str | None
    """The agent's socket, or None for no agent."""
    only_files: bool
    """Whether the agent's keys are for those in `files` only."""
    has_pkcs11: bool
    """Whether there are keys that only ssh itself has."""

    @classmethod
    def of(cls, said: Configuration) -> KeySettings:
        """Read them."""
        return cls(
            files=said.files("identityfile"),
            certificates=said.files("certificatefile"),
            agent=_agent_socket(said),
            only_files=said.is_on("identitiesonly"),
            has_pkcs11=said.get("pkcs11provider") is not None,
        )


@asynccontextmanager
async def login_keys(hop: Hop, settings: KeySettings) -> AsyncIterator[LoginKeys]:
    """All keys for a hop; those of the agent work until the end of the block.

    Raises:
        KeyFileError: the key that is asked for is missing, unreadable, no key, or encrypted while
            the agent doesn't have it.
    """
    keys = LoginKeys()
    if settings.has_pkcs11:
        keys.remarks.append("`PKCS11Provider` is not asked for keys")
    agent = await _connected(settings.agent, keys)
    try:
        held = await _held(agent, keys)
        files = () if hop.key else settings.files
        named = [*settings.certificates, *(f"{name}-cert.pub" for name in (*files, hop.key or ""))]
        certificates = [found for name in named if (found := _certificate(name))]
        if hop.key:
            _add_wanted(keys, hop, hop.key, held, certificates)
        theirs = [_public(Path(name)) for name in files]
        # As ssh has them: the agent's that are named, its others, what only files have.
        for pair in sorted(held, key=lambda pair: _place(pair.key_public_data, theirs)):
            if not settings.only_files or pair.key_public_data in theirs:
                _add_held(keys, pair, f"the agent's {_comment(pair)}", certificates)
        for name in files:
            _add_file(keys, name, held, certificates)
        yield keys
    finally:
        if agent:
            agent.close()
            await agent.wait_closed()


def _add_wanted(
    keys: LoginKeys,
    hop: Hop,
    path: Path,
    held: Sequence[asyncssh.SSHKeyPair],
    certificates: Sequence[asyncssh.SSHCertificate],
) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            hop.host,
            f"the key {path} for {hop.called} can't be read: {error.strerror}",
            "name the file of a private key that you may read",
        ) from error
    public = _public(path)
    in_agent = next((pair for pair in held if pair.public_data == public), None)
    if in_agent:
        _add_held(keys, in_agent, f"{path} (in the agent)", certificates)
        return
    if kind := _strange_kind(public):
        raise KeyFileError(
            hop.host,
            f"the key {path} for {hop.called} is of kind {kind}, which pikaci does not know",
            f"name another one: {ANOTHER_KIND}",
        )
    try:
        pairs = asyncssh.load_keypairs([str(path)], None, certificates)
    except (ValueError, OSError) as error:
        if _is_encrypted(error):
            raise KeyFileError(
                hop.host,
                f"the key {path} for {hop.called} is encrypted, and no agent has it",
                f"give it to one: `ssh-add {path}`",
            ) from error
        raise KeyFileError(
            hop.host,
            f"{path}, the key for {hop.called}, is not a private key: {error}",
            "name the file of a private key, or of a public one that the agent has",
        ) from error
    for pair in pairs:
        keys.add(pair, str(path))


def _add_held(
    keys: LoginKeys,
    pair: asyncssh.SSHKeyPair,
    origin: str,
    certificates: Sequence[asyncssh.SSHCertificate],
) -> None:
    if kind := _strange_kind(pair.key_public_data):
        keys.remarks.append(f"{origin} is {_of_kind(kind)}")
        return
    for certificate in certificates:
        if certificate.key.public_data == pair.key_public_data:
            certified = copy.copy(pair)
            certified.set_certificate(certificate)
            keys.add(certified, f"{origin} with a certificate")
    keys.add(pair, origin)


def _add_file(
    keys: LoginKeys,
    name: str,
    held: Sequence[asyncssh.SSHKeyPair],
    certificates: Sequence[asyncssh.SSHCertificate],
) -> None:
    path = Path(name)
    public = _public(path)
    if not path.exists() or any(pair.key_public_data == public for pair in held):
        return
    if kind := _strange_kind(public):
        keys.remarks.append(f"{name} is {_of_kind(kind)}")
        return
    try:
        pairs = asyncssh.load_keypairs([name], None, certificates)
    except (ValueError, OSError) as error:
        why = "encrypted and not in an agent" if _is_encrypted(error) else f"unusable: {error}"
        keys.remarks.append(f"{name} is {why}")
        return
    for pair in pairs:
        keys.add(pair, name)


def _certificate(name: str) -> asyncssh.SSHCertificate | None:
    # As for ssh: one that isn't there, or isn't one, is passed over.
    with suppress(OSError, ValueError):
        return asyncssh.read_certificate(name)
    return None


def _place(public: bytes, order: Sequence[bytes | None]) -> int:
    return order.index(public) if public in order else len(order)


async def _connected(socket: str | None, keys: LoginKeys) -> asyncssh.SSHAgentClient | None:
    if not socket:
        keys.remarks.append("there is no agent")
        return None
    try:
        return await asyncssh.connect_agent(socket)
    except OSError as error:
        keys.remarks.append(f"no agent answers at {socket}: {error.strerror or error}")
        return None


async def _held(
    agent: asyncssh.SSHAgentClient | None, keys: LoginKeys
) -> Sequence[asyncssh.SSHKeyPair]:
    if not agent:
        return ()
    try:
        return await agent.get_keys()
    except ValueError as error:
        keys.remarks.append(f"the agent doesn't say what it has: {error}")
        return ()


def _public(path: Path) -> bytes | None:
    """The public half of a key, of whatever kind, by its own file or that of the private one."""
    for name in (Path(f"{path}.pub"), path):
        with suppress(OSError, ValueError, IndexError):
            text = name.read_text("ascii")
            if not text.startswith("-----"):
                return b64decode(text.split()[1], validate=True)
            if text.startswith("-----BEGIN OPENSSH"):
                data = b64decode("".join(text.split("-----")[2].split()))
                return _first_key(data.removeprefix(b"openssh-key-v1\0"))
    with suppress(OSError, ValueError):
        return asyncssh.read_private_key(path).public_data
    return None


def _first_key(data: bytes) -> bytes:
    # The names of cipher and derivation, and its options; how many keys, and the first of them.
    for _ in range(3):
        data = _string(data)[1]
    return _string(data[4:])[0]


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4])
    return data[4:end], data[end:]


def _strange_kind(public: bytes | None) -> str | None:
    """The kind of a key, if it is one that asyncssh doesn't know."""
    kind = _string(public)[0] if public else b""
    known = {*get_public_key_algs(), *get_certificate_algs()}
    return kind.decode("ascii", "replace") if kind and kind not in known else None


def _of_kind(kind: str) -> str:
    return f"of kind {kind}, which pikaci does not know: {ANOTHER_KIND}"


def _is_encrypted(error: Exception) -> bool:
    return isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error)


def _comment(pair: asyncssh.SSHKeyPair) -> str:
    return pair.get_comment() or "key"


def _agent_socket(said: Configuration) -> str | None:
    setting = next(iter(said.all("identityagent")), "SSH_AUTH_SOCK")
    if setting == "none":
        return None
    if setting == "SSH_AUTH_SOCK" or setting.startswith("$"):
        return os.environ.get(setting.strip("${}"))
    return said.path(setting)
