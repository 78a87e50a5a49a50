"""Values as JSON, and bytes beside it: between an orchestrator and its agent, and in notes.

The types are those that operations and notes are annotated with. What is read is checked against
them: a host may be broken, or hostile by now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

LISTS = frozenset({list, tuple, Sequence})
MAPPINGS = frozenset({dict, Mapping})
PLAIN = frozenset({bool, int, float, str, bytes, Path, NoneType})


class WireError(ValueError):
    """A value isn't of its type; the message names the field."""


def to_json(value: object, pieces: list[bytes]) -> Any:  # noqa: ANN401 - JSON
    """A value as JSON; its bytes are appended to `pieces`."""
    match value:
        case bytes():
            pieces.append(value)
            sent: Any = len(value)
        case Enum():
            sent = value.value
        case Path():
            sent = str(value)
        case Mapping():
            sent = {name: to_json(item, pieces) for name, item in value.items()}
        case list() | tuple():
            sent = [to_json(item, pieces) for item in value]
        case _ if is_dataclass(value):
            sent = {each.name: to_json(getattr(value, each.name), pieces) for each in fields(value)}
        case _:
            sent = value
    return sent


class Arrived:
    """What arrived: values are taken out of it in the order in which they were put in."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, shape: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - a type; JSON
        """The value of the type `shape` that the JSON `value` is; `where` names it."""
        match get_origin(shape) or shape:
            case origin if origin in {Union, UnionType}:
                return self._take_one(get_args(shape), value, where)
            case origin if origin in LISTS and isinstance(value, list):
                items = [self.take(get_args(shape)[0], item, where) for item in value]
                return tuple(items) if origin is tuple else items
            case origin if origin in MAPPINGS and isinstance(value, dict):
                inner = get_args(shape)[1]
                return {name: self.take(inner, value[name], f"{where}.{name}") for name in value}
            case origin if is_dataclass(origin) and isinstance(value, dict):
                return self._take_fields(origin, value, where)
            case origin if origin is bytes and type(value) is int:
                return self._take_bytes(value, where)
            case origin if isinstance(origin, type):
                return _plain(origin, value, where)
        raise _wrong(where, value)

    def _take_one(self, shapes: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401 - as `take`
        if value is None and NoneType in shapes:
            return None
        *others, last = (shape for shape in shapes if shape is not NoneType)
        for shape in others:
            with suppress(WireError):
                return self.take(shape, value, where)
        return self.take(last, value, where)

    def _take_fields(self, shape: Any, values: dict[str, Any], where: str) -> Any:  # noqa: ANN401 - as `take`
        found = {}
        for name, (inner, is_needed) in _fields(shape).items():
            if name in values:
                found[name] = self.take(inner, values[name], f"{where}.{name}")
            elif is_needed:
                raise WireError(f"{where}.{name} is missing")
        return shape(**found)

    def _take_bytes(self, count: int, where: str) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise WireError(f"{where} has fewer bytes than announced")
        self._at += count
        return self._data[self._at - count : self._at]


def _plain(shape: type[Any], value: Any, where: str) -> Any:  # noqa: ANN401 - JSON
    if shape is Path:
        if _is_text(value) and value.startswith("/"):
            return Path(value)
    elif issubclass(shape, Enum):
        with suppress(ValueError):
            return shape(value)
    elif shape is str:
        if _is_text(value):
            return value
    elif shape in {type(value), Any} or (shape is float and type(value) is int):
        return value
    raise _wrong(where, value)


def _is_text(value: object) -> bool:
    """Whether it can be a path, an argument or a variable's value."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _wrong(where: str, value: object) -> WireError:
    return WireError(f"{where} is {repr(value)[:200]}")


@cache
def _fields(shape: Any) -> dict[str, tuple[Any, bool]]:  # noqa: ANN401 - a type
    """A dataclass's types by name, and whether each has to be named."""
    hints = get_type_hints(shape)
    return {
        field.name: (
            hints[field.name],
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(shape)
    }


def check_type(shape: Any, where: str) -> None:  # noqa: ANN401 - a type
    """Refuse a type whose values can't be sent."""
    origin = get_origin(shape) or shape
    if origin in {Union, UnionType} | LISTS | MAPPINGS:
        for inner in get_args(shape):
            if inner is not Ellipsis:
                check_type(inner, where)
    elif is_dataclass(origin):
        for name, (inner, _) in _fields(origin).items():  # type: ignore[arg-type]  # it is a type
            check_type(inner, f"{where}.{name}")
    elif origin not in PLAIN and not (isinstance(origin, type) and issubclass(origin, Enum)):
        raise TypeError(f"{where}: a value of {shape!r} can't be sent")
