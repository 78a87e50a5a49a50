"""What an agent can be asked to do: methods of its service that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")


@dataclass(frozen=True)
class Call:
    """The bytes that came along with a request, and how to say something before its answer."""

    data: bytes
    say: Callable[[object], None]


def operation(function: FunctionT) -> FunctionT:
    """Let orchestrators ask for a method by its name."""
    function.is_operation = True  # type: ignore[attr-defined]  # a mark, as pytest's
    return function
