"""`pika-git worker`."""

from __future__ import annotations

import fcntl
import os
import platform
import re
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


def _checked_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise click.BadParameter("a name has letters, digits, `.`, `_` and `-`, 63 at most")
    return name


@click.command("worker")
@options.data
@click.option(
    "--name",
    default=socket.gethostname,
    callback=_checked_name,
    help="Its name.  [default: the machine's]",
)
@click.option("--slots", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="What it has (repeatable).")
@click.option("--drain", is_flag=True, help="On SIGTERM, wait for what runs.")
def command(data: DataDir, name: str, slots: int, labels: tuple[str, ...], *, drain: bool) -> None:
    """Claim lanes and run them.

    SIGTERM ends it; what runs continues, and the next worker of this machine takes it over.
    """
    from pika_git.persistence.database import DatabaseError

    has = frozenset({own_system(), *(["root"] if os.geteuid() == 0 else []), *labels})
    try:
        data.make()
        with _alone(data.worker(name), name):
            _work(data, name, has, slots, drains=drain)
    except DatabaseError as error:
        raise click.ClickException(f"{error.message}\nhint: {error.hint}") from error
    except OSError as error:
        text = f"the worker can't use {error.filename or data.root}: {error.strerror}"
        raise click.ClickException(text) from error


def _work(data: DataDir, name: str, has: frozenset[str], slots: int, *, drains: bool) -> None:
    from pika_git.persistence.migrate import open_current
    from pika_git.worker.worker import Worker

    with Worker(open_current(data), data, name, socket.gethostname(), has, slots) as worker:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.end(drains=drains))
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
