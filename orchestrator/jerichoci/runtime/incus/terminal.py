"""A command in a guest, with this process's own terminal or streams.

Incus begins it once all of its websockets are connected, and kills it when they are closed. What
was tried on Incus 6.0:

- An empty text message is the end of a stream, both ways.
- An operation is forgotten five seconds after its end, so its end is waited for from the start.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import select
import signal
import sys
import threading
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import WebSocketException

from jerichoci.errors import InfrastructureError
from jerichoci.machine.terminal import raw_terminal, window_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from websockets.asyncio.client import ClientConnection

    from jerichoci.runtime.incus.api import ExecSession
    from jerichoci.runtime.incus.client import Incus

    ResultT = TypeVar("ResultT")

CONNECT_SECS = 5.0
"""So long does Incus wait for the websockets."""
CLOSE_SECS = 1.0
VERDICT_SECS = 10.0
"""From the end of a command's output to its exit code."""
CHUNK_BYTES = 64 * 1024
END = ""


async def attend(incus: Incus, session: ExecSession, *, terminal: bool) -> int:
    """Be a session's terminal, or its streams, until its command ends; its exit code.

    Raises:
        InfrastructureError: the connection broke.
    """
    verdict = _in_daemon(incus.exit_code, session)
    try:
        if await _converse(session, terminal=terminal):
            async with asyncio.timeout(VERDICT_SECS):
                return await verdict
    except TimeoutError:
        pass
    finally:
        verdict.add_done_callback(_see)
    # How Incus ended the command then says nothing of it.
    raise InfrastructureError("the connection to the guest broke", "open the shell once more")


def _see(verdict: asyncio.Future[int]) -> None:
    """Know an error that nobody waits for: another one is on its way."""
    if not verdict.cancelled():
        verdict.exception()


async def _converse(session: ExecSession, *, terminal: bool) -> bool:
    """Pass on what both sides say, until the guest's has no more; whether it said so itself."""
    async with AsyncExitStack() as stack:
        links: dict[str, ClientConnection] = {}
        try:
            for name, path in session.websockets.items():
                links[name] = await stack.enter_async_context(_connect(session, path))
        except (OSError, WebSocketException):
            return True  # why it never begins, Incus says as its end
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
    """Print what a command prints, if there is somebody to see it; whether it came to its end."""
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
    """Send what is typed until the link is closed. A read of stdin can't be cut off."""
    loop = asyncio.get_running_loop()

    def send(data: bytes | str) -> None:
        asyncio.run_coroutine_threadsafe(link.send(data), loop).result()

    def work() -> None:
        with suppress(WebSocketException, RuntimeError, concurrent.futures.CancelledError):
            while data := _read_stdin():
                send(data)
            send(END)

    threading.Thread(target=work, daemon=True).start()


def _read_stdin() -> bytes:
    """What is typed next; nothing at the end, or where stdin was closed from the start."""
    while sys.stdin is not None:
        try:
            select.select([0], [], [])  # it may be shared with somebody who doesn't wait
            return os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            break
    return b""


@contextmanager
def _resizing(control: ClientConnection) -> Iterator[None]:
    """Let the guest's terminal have the size of ours."""
    changed = asyncio.Event()
    changed.set()

    async def tell() -> None:
        while await changed.wait():
            changed.clear()
            columns, rows = window_size()
            size = {"width": str(columns), "height": str(rows)}
            with suppress(WebSocketException):
                await control.send(json.dumps({"command": "window-resize", "args": size}))

    loop = asyncio.get_running_loop()
    telling = loop.create_task(tell())
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        telling.cancel()


def _in_daemon(
    work: Callable[[ExecSession], ResultT], session: ExecSession
) -> asyncio.Future[ResultT]:
    """Call what blocks, in a thread that keeps nobody from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ResultT] = loop.create_future()

    def settle(result: ResultT | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # without an error there is one

    def call() -> None:
        result, error = None, None
        try:
            result = work(session)
        except Exception as raised:  # noqa: BLE001 - whoever waits gets it
            error = raised
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=call, daemon=True).start()
    return future
