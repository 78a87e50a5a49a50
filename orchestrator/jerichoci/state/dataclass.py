"""`dataclasses.dataclass`, whose methods are written once: it compiles those of each class.

A hundred classes are made at each start, of which most get no instance or a few. What is made by
the thousand has the decorator of `dataclasses`.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import MISSING, FrozenInstanceError
from typing import TYPE_CHECKING, Any

_LEARNING = threading.RLock()
_LEARNED = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
Fields = tuple[tuple[str, ...], dict[str, Any], frozenset[str]]


def _dataclass(cls: Any = None, /, *, frozen: bool = False, **options: Any) -> Any:  # noqa: ANN401 - classes
    """As `dataclasses.dataclass` without `order`, `slots` and the like."""

    def made(cls: Any) -> Any:  # noqa: ANN401 - a class
        cls.__init__, cls.__repr__, cls.__eq__ = _init, _repr, _eq
        cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        for name in _LEARNED:
            setattr(cls, name, _Learned(name, options))
        return cls

    return made if cls is None else made(cls)


class _Learned:
    """What `dataclasses` finds out of a class, found out when it is first asked for."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self._name = name
        self._options = options

    def __get__(self, _instance: object, cls: Any) -> Any:  # noqa: ANN401 - classes
        with _LEARNING:
            owner = next((each for each in cls.__mro__ if self in each.__dict__.values()), None)
            if owner is not None:  # else another thread was first
                dataclasses.dataclass(init=False, repr=False, eq=False, **self._options)(owner)
                fields = dataclasses.fields(owner)
                names = (each.name for each in fields if each.init and not each.kw_only)
                setattr(owner, "__match_args__", tuple(names))  # noqa: B010 - mypy has it for final
        return getattr(cls, self._name)


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - the same to type checkers
else:
    dataclass = _dataclass


def _fields(cls: Any) -> Fields:  # noqa: ANN401 - a dataclass
    """The names of a class's positional arguments, the fields with a default, and all names."""
    known = cls.__dict__.get("_known_fields")
    if known is None:
        fields = dataclasses.fields(cls)
        defaults = {
            field.name: field
            for field in fields
            if field.default_factory is not MISSING or (field.init and field.default is not MISSING)
        }
        known = cls.__match_args__, defaults, frozenset(each.name for each in fields if each.init)
        cls._known_fields = known
    found: Fields = known
    return found


def _init(self: Any, *args: Any, **values: Any) -> None:  # noqa: ANN401 - of any type
    cls = type(self)
    names, defaults, known = _fields(cls)
    made = dict(zip(names, args, strict=False))
    if len(args) > len(names) or not values.keys() <= known or not made.keys().isdisjoint(values):
        raise TypeError(f"{cls.__name__} is not made with these arguments: {args}, {values}")
    made.update(values)
    for name, field in defaults.items():
        if name not in made:
            factory = field.default_factory
            made[name] = field.default if factory is MISSING else factory()
    if not known <= made.keys():
        raise TypeError(f"{cls.__name__} needs {min(known - made.keys())}")
    vars(self).update(made)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _values(self: Any) -> tuple[Any, ...]:  # noqa: ANN401 - of any type
    return tuple(getattr(self, each.name) for each in dataclasses.fields(self) if each.compare)


def _repr(self: Any) -> str:  # noqa: ANN401 - of any type
    shown = (each.name for each in dataclasses.fields(self) if each.repr)
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({values})"


def _eq(self: Any, other: object) -> Any:  # noqa: ANN401 - of any type
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:  # noqa: ANN401 - of any type
    return hash(_values(self))


def _refuse(self: Any, name: str, *_value: object) -> None:  # noqa: ANN401 - of any type
    raise FrozenInstanceError(f"{type(self).__name__}.{name} is frozen")
