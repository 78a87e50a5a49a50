"""Operations on a host: typed functions, called here or sent by name.

Each takes the `Work` of its host first. On this machine `Placement.do` calls it; to another host
its name and arguments go as JSON, and its answer comes back, as its annotations say.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import NoneType
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

from jerichoci.state.wire import Arrived, check_type, to_json

P = ParamSpec("P")
T = TypeVar("T")
Doing = Callable[Concatenate[Any, P], Awaitable[T]]
"""An operation, whose first parameter is the `Work` of its host."""
Held = AbstractAsyncContextManager[object]
Opening = Callable[Concatenate[Any, P], Held]
"""An operation that opens something."""

OPERATIONS: dict[str, Operation] = {}
"""Every operation by its name, as far as their modules are imported."""


@dataclass(frozen=True)
class Operation:
    """A function that can be sent by name."""

    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    """Without the `Work`."""
    types: Mapping[str, Any]
    answer: Any
    holds: bool
    """Whether it opens something, which is held until it is released."""

    def request(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """What is sent for a call: JSON and bytes."""
        values = self.signature.bind(*args, **kwargs).arguments
        pieces: list[bytes] = []
        sent = {name: to_json(value, pieces) for name, value in values.items()}
        return sent, _joined(pieces)

    def arguments(self, values: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """The arguments that were sent."""
        arrived = Arrived(data)
        return {name: arrived.take(self.types[name], values[name], name) for name in values}

    def answered(self, answer: object) -> tuple[Any, bytes]:
        """What is sent back."""
        pieces: list[bytes] = []
        return to_json(answer, pieces), _joined(pieces)

    def result(self, value: object, data: bytes) -> Any:  # noqa: ANN401 - as the function has it
        """The answer that came back."""
        return Arrived(data).take(self.answer, value, "answer")


def operation(function: Callable[P, T]) -> Callable[P, T]:
    """Let an async function be sent by name."""
    _register(function, function, holds=False)
    return function


def held(
    function: Callable[P, AsyncIterator[T]],
) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Let a generator be opened by name on a host, where what it yields is held."""
    opening = asynccontextmanager(function)
    _register(function, opening, holds=True)
    return opening


def named(function: Callable[..., Any]) -> Operation:
    """The operation that a function is."""
    return OPERATIONS[function.__name__]


def _register(function: Callable[..., Any], called: Callable[..., Any], *, holds: bool) -> None:
    """Check the types of an operation, and note it."""
    name = function.__name__
    signature = inspect.signature(function)
    types = get_type_hints(function)
    if name in OPERATIONS or "return" not in types:
        raise TypeError(f"operation {name} has a name that is taken, or no type of its answer")
    answer = NoneType if holds else types.pop("return")
    _, *parameters = signature.parameters.values()
    for parameter in parameters:
        check_type(types[parameter.name], f"{name}.{parameter.name}")
    check_type(answer, f"{name}.return")
    sent = signature.replace(parameters=parameters, return_annotation=signature.empty)
    OPERATIONS[name] = Operation(name, called, sent, types, answer, holds)


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
