"""A program on a host that bytes are written to, over a channel of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import DiskFullError, InfrastructureError
from jerichoci.remote.host_refusals import no_channel
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.errors import HostLostError
from jerichoci.remote.ssh.shell_line import encoded, shell_line
from jerichoci.snapshot.git import lacked_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from asyncssh import SSHClientProcess

    from jerichoci.placement.operation import T
    from jerichoci.remote.session import Session

STDERR_BYTES = 4000


async def finish(program: SSHClientProcess[bytes], complaint: str) -> None:
    """Write no more to a program, and wait for its end."""
    with suppress(OSError):  # it has ended by itself
        program.stdin.write_eof()
    stderr = await program.stderr.read(STDERR_BYTES)
    await program.wait_closed()
    if program.returncode == 0:
        return
    if program.returncode is None and program.exit_signal is None:
        raise ConnectionError("the channel was closed")
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    kind = DiskFullError if lacked_room(stderr) else InfrastructureError
    raise kind(
        f"{complaint}: {lines[-1] if lines else 'it printed nothing'}",
        "is the disk of the host full?",
    )


async def persistently(session: Session, work: Callable[[], Awaitable[T]]) -> T:
    """Do what needs a channel of its own; again, if the connection breaks meanwhile."""
    import asyncssh

    while True:
        connection = await session.connection()
        try:
            return await work()
        except HostLostError:
            raise
        except (asyncssh.Error, OSError) as error:
            broken = error
        if await session.is_still(connection):
            why = getattr(broken, "reason", None) or broken
            if isinstance(broken, asyncssh.ChannelOpenError):
                raise no_channel(session.name, str(why)) from broken
            raise InfrastructureError(f"a channel to {session.name} broke: {why}") from broken


@asynccontextmanager
async def far_program(
    session: Session, argv: Sequence[str], variables: Mapping[str, str]
) -> AsyncIterator[SSHClientProcess[bytes]]:
    """Start a program that reads what is written here, with the agent's PATH and variables more.

    `asyncssh.Error` and `OSError` break it.
    """
    connection = await session.connection()
    line = encoded(shell_line(far_argv(session, argv, variables)))
    process: SSHClientProcess[bytes] = await opened(connection.create_process(line, encoding=None))
    try:
        yield process
    finally:
        process.close()


def far_argv(
    session: Session, argv: Sequence[str], variables: Mapping[str, str] | None = None
) -> list[str]:
    """A command line with the agent's PATH, which has more than a login over ssh gives."""
    path = session.facts.environment.get("PATH", "")
    settings = {"PATH": path} | dict(variables or {})
    return ["env", *(f"{name}={value}" for name, value in settings.items()), *argv]
