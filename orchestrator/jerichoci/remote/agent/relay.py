"""Attaching to a session's agent: it is started if it isn't there, then bytes go to and fro.

The agent is a process of its own that no hang-up ends; this one lives as long as the
connection it serves. Imports little: it runs anew with each connection.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from jerichoci.remote.agent.rendezvous import LISTENING, LOCK, SOCKET, boot_id

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 256 * 1024
START_SECS = 60.0
"""For an agent to listen: it imports some files, perhaps from a slow disk."""
LAST_SECS = 5.0
"""For what an agent said last to go out."""
GONE = select.POLLERR | select.POLLHUP


def attach(work: str, told: dict[str, Any], say: Callable[..., None]) -> None:
    """Relay stdin and stdout to the agent of the session `told["session"]` below `work`."""
    directory = os.path.join(work, "sessions", told["session"])
    if told["resume"]:
        link = _connected(directory)
        if link is None:
            say(gone=True, died=_has_died(directory), boot_id=boot_id())
            return
    else:
        if _is_left():
            # The orchestrator has given up: the login took too long.
            return
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


def _is_left() -> bool:
    """Whether stdout is not read any more."""
    poll = select.poll()
    poll.register(1, 0)
    return any(events & GONE for _, events in poll.poll(0))


def _has_died(directory: str) -> bool:
    """Whether an agent that is gone didn't end in order, which takes its directory along."""
    from jerichoci.state.lock import is_held

    lock = os.path.join(directory, LOCK)
    return not is_held(lock) and os.path.exists(lock)


def _start(work: str, directory: str, told: dict[str, Any]) -> None:
    """Start an agent as a daemon, and wait until it listens."""
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
    from jerichoci.remote.agent.server import serve

    serve(work, directory, told, sink)


def _last_words(directory: str) -> str:
    with suppress(OSError), open(os.path.join(directory, "log"), "rb") as file:
        lines = file.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
    return "it said nothing"


def _relay(link: socket.socket) -> None:
    """Pass bytes on until either end is gone.

    An agent hangs up when another relay has taken this one's place, whose stdout may be stuck then.
    """
    agent = link.fileno()
    for fd in (0, 1, agent):
        os.set_blocking(fd, True)
    for passing in (lambda: _pass(0, agent), lambda: _pass(agent, 1)):
        Thread(target=passing, daemon=True).start()
    # poll reports hang-ups of the descriptors named here.
    poll = select.poll()
    poll.register(1, 0)
    poll.register(agent, 0)
    if all(fd == agent for fd, _ in poll.poll()):
        poll.unregister(agent)
        poll.poll(LAST_SECS * 1000)
    os._exit(0)


def _pass(source: int, sink: int) -> None:
    """Pass on all bytes, and end the relay at their end; a sink that takes no more is left."""
    with suppress(OSError):
        while data := os.read(source, CHUNK_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(sink, view) :]
        os._exit(0)
