"""Requests to an agent: each has a number, and is kept until its answer is there.

When another connection is made, the agent gets what it never got, and repeats what was missed.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.remote.agent.frame import FrameError, pack
from jerichoci.remote.ssh.errors import HostLostError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jerichoci.placement.operation import Operation


@dataclass
class _Request:
    operation: Operation
    frame: bytes
    answer: asyncio.Future[Any]
    handle: str
    """What it opens something under, if it does."""


@dataclass
class Held:
    """What an operation opened."""

    handle: str
    is_over: bool = False
    """Whether there is nothing left to wait for when it is let go of."""


class Requests:
    """The requests to one host that wait for their answers."""

    def __init__(
        self,
        host: str,
        send: Callable[[bytes], None],
        error_of: Callable[[object], Exception],
        release: Callable[[str], object],
    ) -> None:
        """`send` takes frames, `release` handles that were opened for a request that was cancelled.

        `error_of` reads the error that an agent sent.
        """
        self._host = host
        self._send = send
        self._error_of = error_of
        self._release = release
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Request] = {}

    async def ask(
        self, operation: Operation, handle: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:  # noqa: ANN401 - as the operation has it
        """Send a request, and wait for its answer."""
        number = next(self._numbers)
        values, data = operation.request(args, kwargs)
        if operation.holds:
            values["handle"] = handle
        try:
            frame = pack({"id": number, "do": operation.name, "args": values}, data)
        except FrameError as error:
            raise InfrastructureError(
                f"the request `{operation.name}` to {self._host} is too long: {error}"
            ) from error
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Request(operation, frame, answer, handle)
        self._send(frame)
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(pack({"cancel": number}))
            raise

    def numbers(self) -> set[int]:
        """Those of all requests that wait."""
        return set(self._waiting)

    def resend(self, send: Callable[[bytes], None], unknown: set[int]) -> None:
        """Send what the agent never got, and what was cancelled while there was no connection."""
        for number, request in list(self._waiting.items()):
            if not request.answer.done():
                if number in unknown:
                    send(request.frame)
            elif number in unknown:
                del self._waiting[number]
            else:
                send(pack({"cancel": number}))

    def take(self, values: dict[str, Any], data: bytes) -> None:
        """Take what came from the agent."""
        number = values.get("id")
        request = self._waiting.get(number) if isinstance(number, int) else None
        if request is None or not isinstance(number, int):
            return
        del self._waiting[number]
        self._send(pack({"got": number}))
        if request.answer.done():
            if request.operation.holds and "ok" in values:
                self._release(request.handle)
        elif "ok" in values:
            try:
                request.answer.set_result(request.operation.result(values["ok"], data))
            except WireError as error:
                name = request.operation.name
                request.answer.set_exception(
                    InfrastructureError(f"{self._host} sent an invalid answer to `{name}`: {error}")
                )
        elif "error" in values:
            request.answer.set_exception(self._error_of(values["error"]))
        else:
            request.answer.set_exception(
                HostLostError(self._host, f"the agent on {self._host} gave up")
            )

    def fail(self, error: HostLostError) -> None:
        """Have every request end with an error."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            if not request.answer.done():
                request.answer.set_exception(error)
