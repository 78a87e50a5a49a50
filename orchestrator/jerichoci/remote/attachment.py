"""One attachment to the agent on a host: a connection, and the channel that frames go through.

It lasts as long as the connection; `session` makes another one when it breaks.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jerichoci.remote import host_refusals
from jerichoci.remote.agent.boot import MARK
from jerichoci.remote.agent.bundle import boot_argv, bundle
from jerichoci.remote.agent.frame import FrameError, pack, unpack
from jerichoci.remote.agent.survey import HostFacts
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.errors import UnreachableHostError
from jerichoci.remote.ssh.shell_line import encoded, shell_line
from jerichoci.state.wire import Arrived

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncssh import SSHClientConnection, SSHClientProcess, SSHReader

    from jerichoci.nix.command import NixOptions
    from jerichoci.plan.hosts import RemoteHost

BOOT_SECS = 90.0
"""For python to start over there, the agent to be brought and to listen."""
WELCOME_SECS = 30.0
"""For an agent on a busy host to say who it is."""
AGENT_MARGIN_SECS = 30.0
"""How much longer an agent waits for us than we for it."""
WINDOW_BYTES = 8 * 1024 * 1024
WORDS_BYTES = 4000
NOISE_LINES = 1000
"""So many lines may a login shell print before what was asked for."""


class GoneError(Exception):
    """The agent that was to be attached to isn't there any more."""

    def __init__(self, boot_id: str | None, *, died: bool) -> None:
        super().__init__("the agent is gone")
        self.boot_id = boot_id
        """The host's now."""
        self.died = died
        """Whether it did not end in order."""


class Attachment:
    """A channel to an agent, over a connection of its own."""

    def __init__(self, connection: SSHClientConnection, process: SSHClientProcess[bytes]) -> None:
        self.connection = connection
        self._process = process
        self._pieces = _Pieces(process.stdout)

    @property
    def heard(self) -> float:
        """When something of the agent's came last, by the monotonic clock."""
        return self._pieces.heard

    @classmethod
    async def open(
        cls, host: RemoteHost, nix: NixOptions, session: str, *, resume: bool
    ) -> Attachment:
        """Connect to a host and attach to the agent of a session, or start one."""
        import asyncssh

        from jerichoci.remote.ssh.connection import close, connect

        connection = await connect(host)
        try:
            async with asyncio.timeout(BOOT_SECS):
                start = _start(host, nix, session, resume=resume)
                return cls(connection, await _begin(host, connection, start))
        except TimeoutError:
            await close(connection)
            raise UnreachableHostError(
                host.name, f"{host.name} did not start the agent within {BOOT_SECS:g} s"
            ) from None
        except (asyncssh.Error, OSError, EOFError, ValueError, RecursionError) as error:
            is_whole = not connection.is_closed()
            await close(connection)
            reason = getattr(error, "reason", None) or str(error) or "it was closed"
            if isinstance(error, asyncssh.ChannelOpenError) and is_whole:
                raise host_refusals.no_channel(host.name, reason) from error
            raise UnreachableHostError(
                host.name, f"the connection to {host.name} broke: {reason}"
            ) from error
        except BaseException:
            await close(connection)
            raise

    def send(self, frame: bytes) -> None:
        """Send a frame, or nothing if the channel is closed by now."""
        import asyncssh

        with suppress(OSError, asyncssh.Error):
            self._process.stdin.write(frame)

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next frame."""
        import asyncssh

        try:
            return await unpack(self._pieces)
        except (asyncssh.Error, OSError, FrameError) as error:
            raise EOFError(str(error)) from error

    def abort(self) -> None:
        """Break the connection: the receiver gets an `EOFError` at once."""
        self.connection.abort()

    async def close(self) -> None:
        """Close channel and connection."""
        from jerichoci.remote.ssh.connection import close

        await close(self.connection)


class _Pieces:
    """What comes through a channel, and when it did."""

    def __init__(self, reader: SSHReader[bytes]) -> None:
        self._reader = reader
        self.heard = time.monotonic()

    async def readexactly(self, n: int) -> bytes:
        """Read that many bytes."""
        pieces = []
        while n:
            piece = await self._reader.read(n)
            if not piece:
                raise EOFError("it was closed")
            self.heard = time.monotonic()
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)


def _start(host: RemoteHost, nix: NixOptions, session: str, *, resume: bool) -> dict[str, Any]:
    """Which agent to attach to, and its settings if it has to be started."""
    agent = bundle()
    return {
        "work_dir": host.config.work_dir,
        "digest": agent.digest,
        "bytes": len(agent.data),
        "session": session,
        "resume": resume,
        "limit_secs": host.config.line_limit_secs + AGENT_MARGIN_SECS,
        "search_path": list(host.config.search_path),
        "nix_settings": [list(pair) for pair in nix.settings],
        "nix_offline": nix.offline,
        "capacity": host.config.capacity.model_dump(exclude_none=True),
    }


async def _begin(
    host: RemoteHost, connection: SSHClientConnection, start: Mapping[str, Any]
) -> SSHClientProcess[bytes]:
    line = shell_line(boot_argv(start))
    process: SSHClientProcess[bytes] = await opened(
        connection.create_process(encoded(line), encoding=None, window=WINDOW_BYTES)
    )
    while True:
        said = await _read_marked(host, process)
        if said.get("attached"):
            return process
        if said.get("need"):
            process.stdin.write(bundle().data)
        elif said.get("gone"):
            raise GoneError(said.get("boot_id"), died=bool(said.get("died")))
        else:
            fault = said.get("fault")
            raise host_refusals.refused(host.name, fault if isinstance(fault, dict) else {})


async def _read_marked(host: RemoteHost, process: SSHClientProcess[bytes]) -> dict[str, Any]:
    last = line = b""
    for _ in range(NOISE_LINES):
        last = line
        line = await process.stdout.readline()
        # A shell's last words before may have had no end of line.
        _, mark, said = line.partition(MARK)
        if mark:
            values = json.loads(said)
            return values if isinstance(values, dict) else {}
        if not line:
            break
    else:
        raise host_refusals.noisy(host, NOISE_LINES)
    words = (await process.stderr.read(WORDS_BYTES)).decode("utf-8", "replace").strip()
    # The exit code comes after the end of what it printed.
    await process.wait_closed()
    code = process.returncode
    if code is None and process.exit_signal is None:
        raise EOFError("the channel was closed")
    words = words or last.decode("utf-8", "replace").strip()
    last_line = words.splitlines()[-1] if words else "it printed nothing"
    raise host_refusals.no_agent(host, code, last_line)


async def greet(attachment: Attachment, waiting: Collection[int]) -> tuple[HostFacts, set[int]]:
    """Greet an agent: what its host is, and which of the requests that wait it never got."""
    attachment.send(pack({"waiting": list(waiting)}))
    async with asyncio.timeout(WELCOME_SECS):
        values, _ = await attachment.receive()
    facts = Arrived(b"").take(HostFacts, values["welcome"], "the welcome")
    return facts, {int(number) for number in values["unknown"]}
