"""A shell in the guest of a job, which was kept, with this process's own terminal or streams.

Incus begins a command once all of its websockets are connected, and kills it when they are closed.
What was tried on Incus 6.0:

- An empty text message is the end of a stream, both ways.
- An operation is forgotten five seconds after its end, so its end is waited for from the start.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import WebSocketException

from jerichoci.errors import InfrastructureError
from jerichoci.machine.terminal import on_terminal, raw_terminal, read_stdin, window_size
from jerichoci.runtime.guest_runner import RUNNER, shell_variables
from jerichoci.runtime.incus.client import Incus, open_incus
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.runtime.kept_guest import gone, kept_note
from jerichoci.state.ledger import GuestNote, incus_guests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jerichoci.placement import Placement
    from jerichoci.runtime import Attempt
    from jerichoci.runtime.incus.api import ExecSession

CONNECT_SECS = 5.0
"""Incus waits this long for the websockets."""
CLOSE_SECS = 1.0
VERDICT_SECS = 10.0
"""From the end of a command's output to its exit code."""
END = ""


async def open_guest_shell(
    placement: Placement, attempt: Attempt, execution: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Open a shell in the guest of an attempt, or run a command in it; its exit code."""
    name = execution.get("instance")
    note = kept_note(incus_guests(attempt.state), name, attempt, execution, kind="guest")
    incus = await open_incus(placement)
    await in_thread(_check, incus, attempt, note)
    terminal = on_terminal()
    size = window_size() if terminal else None
    node = attempt.node
    variables = shell_variables(
        node.execute, attempt.inputs, command, terminal=terminal, prompt=f"{node.job_id}$ "
    )
    variables["TERM"] = os.environ.get("TERM", "dumb")
    argv = [RUNNER, "--shell"]
    session = await in_thread(incus.begin, note.name, argv, variables, size)
    return await _attend(incus, session, terminal=terminal)


def _check(incus: Incus, attempt: Attempt, note: GuestNote) -> None:
    found = incus.instance(note.name)
    if found is None:
        raise gone(attempt, f"the guest of job {attempt.node.job_id} is gone")
    if not found.is_running:
        # Started again, it would be without the workspace that the runner mounted in it.
        status = found.status.lower()
        raise gone(attempt, f"the guest of job {attempt.node.job_id}, {note.name}, is {status}")


async def _attend(incus: Incus, session: ExecSession, *, terminal: bool) -> int:
    """Be a session's terminal, or its streams, until its command ends; its exit code."""
    verdict = _in_daemon(incus.exit_code, session)
    try:
        if await _converse(session, terminal=terminal):
            async with asyncio.timeout(VERDICT_SECS):
                return await verdict
    except TimeoutError:
        pass
    finally:
        if not verdict.cancel() and not verdict.cancelled():
            verdict.exception()  # or asyncio warns that it was never retrieved
    # How Incus ended the command says nothing about it then.
    raise InfrastructureError("the connection to the guest broke", "open the shell once more")


async def _converse(session: ExecSession, *, terminal: bool) -> bool:
    """Copy both ways until the guest's output ends; whether the guest ended it."""
    async with AsyncExitStack() as stack:
        links: dict[str, ClientConnection] = {}
        try:
            for name, path in session.websockets.items():
                links[name] = await stack.enter_async_context(_connect(session, path))
        except (OSError, WebSocketException):
            return True  # the session's end has Incus's reason
        if terminal:
            stack.enter_context(raw_terminal())
            stack.enter_context(_resizing(links["control"]))
        _pass_on_stdin(links["0"])
        outputs = {1: links["0"]} if terminal else {1: links["1"], 2: links["2"]}
        return all(await asyncio.gather(*(_show(link, fd) for fd, link in outputs.items())))


def _connect(session: ExecSession, path: str) -> connect:
    return unix_connect(
        str(session.socket),
        f"ws://incus{path}",
        compression=None,
        max_size=None,
        open_timeout=CONNECT_SECS,
        close_timeout=CLOSE_SECS,
        ping_interval=None,  # Incus answers none while a command takes no input
    )


async def _show(link: ClientConnection, fd: int) -> bool:
    """Print what a command prints, if our stream is open; whether the output came to its end."""
    is_open = (sys.stdout if fd == 1 else sys.stderr) is not None
    try:
        async for message in link:
            if isinstance(message, str):
                return True
            while message and is_open:
                message = message[os.write(fd, message) :]  # noqa: PLW2901 - what is left of it
    except WebSocketException:
        return False
    return True


def _pass_on_stdin(link: ClientConnection) -> None:
    """Send what is typed until the link is closed. A read of stdin can't be cancelled."""
    loop = asyncio.get_running_loop()

    def send(data: bytes | str) -> None:
        asyncio.run_coroutine_threadsafe(link.send(data), loop).result()

    def work() -> None:
        with suppress(WebSocketException, RuntimeError, concurrent.futures.CancelledError):
            while data := read_stdin():
                send(data)
            send(END)

    threading.Thread(target=work, daemon=True).start()


@contextmanager
def _resizing(control: ClientConnection) -> Iterator[None]:
    """Let the guest's terminal have the size of ours."""
    changed = asyncio.Event()
    changed.set()

    async def resize() -> None:
        while await changed.wait():
            changed.clear()
            columns, rows = window_size()
            size = {"width": str(columns), "height": str(rows)}
            with suppress(WebSocketException):
                await control.send(json.dumps({"command": "window-resize", "args": size}))

    loop = asyncio.get_running_loop()
    resizing = loop.create_task(resize())
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        resizing.cancel()


def _in_daemon(work: Callable[[ExecSession], int], session: ExecSession) -> asyncio.Future[int]:
    """Call what blocks, in a thread that does not keep the process from ending."""
    done: concurrent.futures.Future[int] = concurrent.futures.Future()

    def call() -> None:
        with suppress(concurrent.futures.InvalidStateError):  # cancelled
            try:
                done.set_result(work(session))
            except Exception as error:  # noqa: BLE001 - the caller gets it
                done.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return asyncio.wrap_future(done)
