"""`pika-git worker`."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pika_git.commands import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika_git.data import DataDir


@click.command("worker")
@options.data
@click.option("--name", default=socket.gethostname, help="Its name.  [default: the machine's]")
@click.option("--slots", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="What it has (repeatable).")
@click.option("--drain", is_flag=True, help="On SIGTERM, wait for what runs.")
def command(data: DataDir, name: str, slots: int, labels: tuple[str, ...], *, drain: bool) -> None:
    """Claim lanes and run them.

    SIGTERM ends it; what runs goes on, and the next worker of this machine takes it over.
    """
    from pika_git.persistence.migrate import open_current
    from pika_git.worker.worker import Worker

    data.make()
    with _alone(data.worker(name), name):
        database = open_current(data)
        has = frozenset({own_system(), *(["root"] if os.geteuid() == 0 else []), *labels})
        with Worker(database, data, name, socket.gethostname(), has, slots) as worker:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: worker.end(drains=drain))
            worker.run()


def own_system() -> str:
    """This machine's Nix system."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{platform.system().lower()}"


@contextmanager
def _alone(directory: Path, name: str) -> Iterator[None]:
    """Hold the name: no other process is this worker meanwhile."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"a worker {name} runs already; give this one another --name"
            raise click.ClickException(text) from None
        yield
