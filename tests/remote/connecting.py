"""Connecting to a plain sshd from a home of the test's own."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from jerichoci.exit_codes import EXIT_INFRASTRUCTURE, EXIT_USAGE
from jerichoci.plan.hosts import HostConfig, RemoteHost
from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.errors import HostError, UnreachableHostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from remote.plain_sshd import PlainSshd


def make_home(home: Path, login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without known hosts, with the key that is let in, and no agent."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("SHELL", raising=False)
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700)
    for suffix in ("", ".pub"):
        target = ssh / f"id_ed25519{suffix}"
        target.write_bytes((login.parent / f"{login.name}{suffix}").read_bytes())
        target.chmod(0o600)


def host(server: PlainSshd | None = None, **config: object) -> RemoteHost:
    where = {"address": "127.0.0.1", "port": server.port} if server else {}
    return RemoteHost("lab", HostConfig.model_validate({**where, **config}))


def far(**config: object) -> RemoteHost:
    """A host of which ssh's configuration says the rest."""
    return RemoteHost("far", HostConfig.model_validate(config))


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def know(home: Path, *lines: str) -> None:
    (home / ".ssh" / "known_hosts").write_text("".join(lines), encoding="utf-8")


def configure(home: Path, text: str) -> None:
    (home / ".ssh" / "config").write_text(text, encoding="utf-8")


async def says(to: RemoteHost, command: str = "echo hello") -> str:
    async with asyncio.timeout(60), await connect(to) as connection:
        ended = await connection.run(command, check=True)
    return str(ended.stdout).strip()


async def refused(to: RemoteHost, kind: type[HostError]) -> HostError:
    async with asyncio.timeout(60):
        with pytest.raises(kind) as caught:
            await connect(to)
    assert caught.value.host == to.name
    assert caught.value.hint
    usage = EXIT_INFRASTRUCTURE if kind is UnreachableHostError else EXIT_USAGE
    assert caught.value.exit_code == usage
    return caught.value


def trusted(server: PlainSshd, **config: object) -> RemoteHost:
    return host(server, fingerprint=server.fingerprint(), **config)


@asynccontextmanager
async def stranger(answer: bytes, *, stays: bool) -> AsyncIterator[int]:
    """The port of a server that sends something, then is silent or ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not stays:
            writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.05)
