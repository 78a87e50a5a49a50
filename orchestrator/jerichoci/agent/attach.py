"""Attaching to a session's agent: it is started if it isn't there, then bytes go to and fro.

The agent is a process of its own that nobody's hanging up ends; this one lives as long as the
connection it serves. Imports little: it runs anew with each connection.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET = "socket"
LISTENING = b"listening"
CHUNK_BYTES = 256 * 1024
START_SECS = 60.0
"""For an agent to listen: it imports some files, perhaps from a slow disk."""


def attach(work: str, told: dict[str, Any], say: Callable[..., None]) -> None:
    """Relay stdin and stdout to the agent of the session `told["session"]` below `work`."""
    directory = os.path.join(work, "sessions", told["session"])
    if told["resume"]:
        link = _connected(directory)
        if link is None:
            say(gone=True, boot_id=boot_id())
            return
    else:
        os.makedirs(directory, 0o700, exist_ok=True)
        link = _connected(directory)
        if link is None:
            _start(work, directory, told)
            link = _connected(directory)
        if link is None:
            say(fault={"what": "agent", "path": directory, "message": _last_words(directory)})
            return
    say(attached=True)
    _relay(link)


def boot_id() -> str | None:
    """What is another one after each boot; None where the kernel has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _connected(directory: str) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A socket's path has 107 bytes at most.
        os.chdir(directory)
        link.connect(SOCKET)
    except OSError:
        link.close()
        return None
    return link


def _start(work: str, directory: str, told: dict[str, Any]) -> None:
    """Start an agent that belongs to nobody, and wait until it listens."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(source)
            os.setsid()
            if os.fork() == 0:
                _become_agent(work, directory, told, sink)
        finally:
            os._exit(0)
    os.close(sink)
    os.waitpid(child, 0)
    ready, _, _ = select.select([source], [], [], START_SECS)
    if ready:
        os.read(source, len(LISTENING))
    os.close(source)


def _become_agent(work: str, directory: str, told: dict[str, Any], sink: int) -> None:
    os.chdir(directory)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, fd in ((0, nothing), (1, log), (2, log)):
        os.dup2(fd, stream)
    os.closerange(3, sink)
    os.closerange(sink + 1, 1024)
    os.set_inheritable(sink, False)  # noqa: FBT003 - that is its signature
    from jerichoci.agent.server import serve

    serve(work, directory, told, sink)


def _last_words(directory: str) -> str:
    with suppress(OSError), open(os.path.join(directory, "log"), "rb") as file:
        lines = file.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
    return "it said nothing"


def _relay(link: socket.socket) -> None:
    def up() -> None:
        with suppress(OSError):
            while data := os.read(0, CHUNK_BYTES):
                link.sendall(data)
        with suppress(OSError):
            link.shutdown(socket.SHUT_WR)

    threading.Thread(target=up, daemon=True).start()
    with suppress(OSError):
        while data := link.recv(CHUNK_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    # The other thread may sit in a read that never ends.
    sys.stdout.flush()
    os._exit(0)
