"""Operations on a host: typed functions, called here or sent by name.

Each takes the `Work` of its host first. On this machine `Placement.do` calls it; to another host
its name and arguments go as JSON, and its answer comes back, as its annotations say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from jerichoci.state.dataclass import dataclass
from jerichoci.state.wire import Arrived, check_type, to_json

if TYPE_CHECKING:
    import inspect

P = ParamSpec("P")
T = TypeVar("T")
Doing = Callable[Concatenate[Any, P], Awaitable[T]]
"""An operation, whose first parameter is the `Work` of its host."""
Held = AbstractAsyncContextManager[object]
Opening = Callable[Concatenate[Any, P], Held]
"""An operation that opens something."""

OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], bool]] = {}
"""Every operation by its name, as far as their modules are imported: what has its types, what is
called, and whether that holds something."""


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


def _register(function: Callable[..., Any], called: Callable[..., Any], *, holds: bool) -> None:
    name = function.__name__
    if name in OPERATIONS:
        raise TypeError(f"operation {name} has a name that is taken")
    OPERATIONS[name] = function, called, holds


def named(function: Callable[..., Any]) -> Operation:
    """The operation that a function is."""
    return find(function.__name__)


@cache
def find(name: str) -> Operation:
    """The operation of a name. Its types are read here: a run on this machine needs none."""
    function, called, holds = OPERATIONS[name]
    return described(function, called, holds=holds)


def described(
    function: Callable[..., Any], called: Callable[..., Any], *, holds: bool
) -> Operation:
    """What is to be known of a function to send it.

    Raises:
        TypeError: it has a type that can't be sent.
    """
    import inspect
    from typing import get_type_hints

    name = function.__name__
    signature = inspect.signature(function)
    types = get_type_hints(function)
    if "return" not in types:
        raise TypeError(f"operation {name} has no type of its answer")
    answer = NoneType if holds else types.pop("return")
    _, *parameters = signature.parameters.values()
    for parameter in parameters:
        check_type(types[parameter.name], f"{name}.{parameter.name}")
    check_type(answer, f"{name}.return")
    sent = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return Operation(name, called, sent, types, answer, holds)


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
