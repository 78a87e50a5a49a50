"""The keys to log in with: the one that is asked for, the agent's, and those in ~/.ssh."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from jerichoci.ssh.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jerichoci.ssh.hop import Hop

DEFAULT_FILES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


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
    """Empty: the usual ones."""
    certificates: Sequence[str]
    agent: str | None
    """The agent's socket, a variable with it, or None for no agent."""
    only_files: bool
    """Whether the agent's keys are for those in `files` only."""

    @classmethod
    def of(cls, config: asyncssh.config.SSHConfig) -> KeySettings:
        """Read them."""
        return cls(
            files=_texts(config.get("IdentityFile")),
            certificates=_texts(config.get("CertificateFile")),
            agent=_agent_socket(config.get("IdentityAgent", "SSH_AUTH_SOCK")),
            only_files=bool(config.get("IdentitiesOnly")),
        )


@asynccontextmanager
async def login_keys(hop: Hop, settings: KeySettings) -> AsyncIterator[LoginKeys]:
    """All keys for a hop; those of the agent work until the end of the block.

    Raises:
        KeyFileError: the key that is asked for is missing, unreadable, no key, or encrypted while
            the agent doesn't have it.
    """
    keys = LoginKeys()
    agent = await _connected(settings.agent, keys)
    try:
        held = await _held(agent, keys)
        if hop.key:
            _add_wanted(keys, hop, hop.key, held, settings)
        files = () if hop.key else settings.files or DEFAULT_FILES
        theirs = [_public(Path(name).expanduser()) for name in files]
        for pair in held:
            if not settings.only_files or (pair.public_data in theirs):
                keys.add(pair, f"the agent's {_comment(pair)}")
        for name in files:
            _add_file(keys, name, held, settings)
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
    settings: KeySettings,
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
        keys.add(in_agent, f"{path} (in the agent)")
        return
    try:
        pairs = asyncssh.load_keypairs([str(path)], None, list(settings.certificates))
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


def _add_file(
    keys: LoginKeys, name: str, held: Sequence[asyncssh.SSHKeyPair], settings: KeySettings
) -> None:
    path = Path(name).expanduser()
    if not path.exists() or any(pair.public_data == _public(path) for pair in held):
        return
    try:
        pairs = asyncssh.load_keypairs([str(path)], None, list(settings.certificates))
    except (ValueError, OSError) as error:
        why = "encrypted and not in an agent" if _is_encrypted(error) else f"unusable: {error}"
        keys.remarks.append(f"{name} is {why}")
        return
    for pair in pairs:
        keys.add(pair, name)


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
    for name in (f"{path}.pub", str(path)):
        try:
            return asyncssh.read_public_key(name).public_data
        except (OSError, ValueError):
            continue
    try:
        return asyncssh.read_private_key(path).public_data
    except (OSError, ValueError):
        return None


def _is_encrypted(error: Exception) -> bool:
    return isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error)


def _comment(pair: asyncssh.SSHKeyPair) -> str:
    return pair.get_comment() or "key"


def _agent_socket(setting: object) -> str | None:
    if not setting:
        return None
    text = str(setting)
    if text == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    if text.startswith("$"):
        return os.environ.get(text[1:].strip("{}"))
    return str(Path(text).expanduser())


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
