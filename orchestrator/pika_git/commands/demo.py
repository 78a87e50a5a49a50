"""`pika-git demo`: a forge to try, with a repository to push to."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pika_git.data import VARIABLE, DataDir

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "demo"
ADDRESS = "address"
START_SECS = 60.0
STOP_SECS = 30.0
LOOK_SECS = 0.2


def _default() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "pika-git-demo"


@click.command("demo")
@click.option(
    "--data",
    metavar="DIR",
    envvar=VARIABLE,
    type=click.Path(path_type=Path, file_okay=False),
    default=_default,
    help="Its directory.  [default: $XDG_STATE_HOME/pika-git-demo]",
)
def command(data: Path) -> None:
    """Start a forge and a worker, with a repository that has one lane, and say how to reach them.

    Ctrl-C ends both. Started again, it continues where it was.
    """
    from pika_git.commands.demo_repository import make_repository
    from pika_git.git import GitError

    directory = DataDir(data.absolute()).make()
    try:
        repository = make_repository(directory.root / f"{NAME}.git")
        token = _prepare(directory, repository.path)
    except GitError as error:
        raise click.ClickException(str(error)) from None
    with _catching() as stop, ExitStack() as running:
        service, url = running.enter_context(_service(directory))
        worker = running.enter_context(_child(directory, "worker", "--name", NAME))
        for what, value in (("url", url), ("token", token), ("repository", repository.path)):
            click.echo(f"{what:<11} {value}")
        click.echo("Ctrl-C ends it. The README tells what to try.", err=True)
        while not select.select([stop], [], [], LOOK_SECS)[0]:
            for name, child in (("serve", service), ("worker", worker)):
                if child.poll() is not None:
                    raise _ended(directory, name)


def _prepare(data: DataDir, path: Path) -> str:
    """Register the repository and make a token, if that was not done before; the token."""
    from pika_git.forge_runtime.hook import install
    from pika_git.forge_runtime.registering import register
    from pika_git.forge_service import recovery
    from pika_git.forge_service.forge import Forge
    from pika_git.git import Repository
    from pika_git.persistence import repos
    from pika_git.persistence.migrate import open_current

    database = open_current(data)
    with database.read() as connection:
        known = repos.named(connection, NAME)
    if known is None:
        register(database, NAME, path)
    install(Repository(path), data.hook_socket)
    kept = data.root / "token"
    with suppress(FileNotFoundError):
        return kept.read_text().strip()
    secret = recovery.add_token(Forge(database, data), NAME, "admin", by="pika-git demo").secret
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(secret)
    database.engine.dispose()
    return secret


@contextmanager
def _service(data: DataDir) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service, once it says where it is: at the address of the settings, if that is free."""
    with _child(data, "serve", "--listen", _address(data)) as child:
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        ready, _, _ = select.select([child.stdout], [], [], START_SECS)
        url = child.stdout.readline().strip() if ready else ""
        if not url:
            raise _ended(data, "serve")
        (data.root / ADDRESS).write_text(url.partition("://")[2])
        yield child, url


@contextmanager
def _child(data: DataDir, name: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A `pika-git` of its own, ended at the end; what it says is in the directory's log."""
    argv = [sys.executable, "-m", "pika_git", name, "--data", str(data.root), *args]
    with _log(data, name).open("w") as log:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if name == "serve" else log,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process alone, which ends them in order
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _address(data: DataDir) -> str:
    """The settings' address if that is free, else the one that it had before, else any port."""
    from pika_git.settings import SettingsError, load, parse_address

    try:
        listen = load(data.settings).listen
        parse_address(listen)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    kept = data.root / ADDRESS
    known = [listen, *(kept.read_text().split() if kept.exists() else [])]
    host = listen.rpartition(":")[0]
    return next((each for each in known if _is_free(*parse_address(each))), f"{host}:0")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _log(data: DataDir, name: str) -> Path:
    return data.root / f"{name}.log"


def _ended(data: DataDir, name: str) -> click.ClickException:
    said = _log(data, name).read_text("utf-8", "replace").strip()
    return click.ClickException(f"pika-git {name} ended: {said or 'it said nothing'}")


@contextmanager
def _catching() -> Iterator[int]:
    """What becomes readable when this process is asked to end."""
    read, write = os.pipe()
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda *_: os.write(write, b"."))
    try:
        yield read
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
