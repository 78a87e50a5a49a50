"""`pika-git serve`."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from pika_git.commands import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika_git.data import DataDir
    from pika_git.settings import Settings

BACKLOG = 2048


@click.command("serve")
@options.data
@click.option("--listen", metavar="HOST:PORT", help="Where.  [default: the settings']")
def command(data: DataDir, listen: str | None) -> None:
    """Serve the pages and the API, take pushes in, and keep the queue going.

    Lanes are run by `pika-git worker`. SIGTERM ends the service; what runs continues.
    """
    from pika_git.persistence.database import DatabaseError
    from pika_git.settings import SettingsError, load, parse_address

    data.make()
    try:
        settings = load(data.settings)
        address = parse_address(listen or settings.listen)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    with _alone(data.service_lock), closing(_listen(*address)) as listening:
        try:
            serve(data, settings, listening)
        except DatabaseError as error:
            raise click.ClickException(f"{error.message}\nhint: {error.hint}") from error


def serve(data: DataDir, settings: Settings, listening: socket.socket) -> None:
    """Serve on a socket until a signal says to end."""
    from pika_git.forge_runtime.loop import Runtime
    from pika_git.forge_service.forge import Forge
    from pika_git.forge_service.merge import Gate
    from pika_git.persistence.migrate import open_current
    from pika_git.settings import MIB
    from pika_git.web.app import create
    from pika_git.web.server import Server

    database = open_current(data)
    deadlines = settings.deadlines
    gate = Gate(database, data)
    gate.recover()
    runtime = Runtime(
        database,
        data,
        poll_secs=deadlines.poll_secs,
        plan_secs=deadlines.evaluation_secs,
        memory_bytes=settings.limits.evaluation_mib * MIB,
        also={"merges": gate.settle},
    )
    thread = threading.Thread(target=runtime.run, name="runtime")

    def problems() -> list[str]:
        return [] if thread.is_alive() else ["the service takes in no pushes: see its log"]

    app = create(Forge(database, data, settings, problems))

    server = Server(app)
    host, port = listening.getsockname()[:2]
    click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    thread.start()
    try:
        server.run(sockets=[listening])
    finally:
        runtime.stop()
        thread.join()
        database.engine.dispose()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        raise click.ClickException(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listening


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of the forge's directory: it has one service."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip()
            text = f"a service runs already for {path.parent}" + (f", process {who}" if who else "")
            raise click.ClickException(text) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
