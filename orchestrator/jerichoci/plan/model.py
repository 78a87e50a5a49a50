"""The base of every record: frozen, and tolerant of what a later version adds.

A model is written as pydantic's are, and validated by pydantic. That takes a tenth of a second to
import and to be told of a plan, which what writes its own records doesn't need: `plan.validation`
does it, when values are validated.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, dataclass_transform

from jerichoci.plan.rule import REQUIRED, Rule, field
from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN

SCHEMA_VERSION = 1
LARGE_CHARS = 100_000
"""Of JSON that `json` takes longer to indent than pydantic takes to import."""
Json = dict[str, Any]
Id = Annotated[str, field(pattern=f"^{ID_PATTERN}$")]
RunId = Annotated[str, field(pattern=f"^{RUN_ID_PATTERN}$")]
Timestamp = Annotated[str, field(description="RFC 3339, UTC, milliseconds")]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Model:
    """A frozen record; unknown fields are ignored where values are validated.

    `Model(...)` takes its values as they are.
    """

    model_fields: ClassVar[dict[str, Any]] = {}
    """The default of each field, or REQUIRED."""
    model_checks: ClassVar[tuple[str, ...]] = ()
    """Methods that `check` marks."""
    model_forbids: ClassVar[bool] = False
    """Whether an unknown field is an error."""

    def __init_subclass__(cls) -> None:
        """Know the fields and checks of a model."""
        own = cls.__dict__
        fields = dict(cls.model_fields)
        for name, kind in own.get("__annotations__", {}).items():
            if not kind.startswith("ClassVar"):
                value = own.get(name, REQUIRED)
                fields[name] = value.default() if isinstance(value, Rule) else value
        cls.model_fields = fields
        found = (name for name, value in own.items() if getattr(value, "is_check", False))
        cls.model_checks = (*cls.model_checks, *found)

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - those of the fields
        made = vars(self)
        for name, default in self.model_fields.items():
            if name in values:
                made[name] = values[name]
            elif default is REQUIRED:
                raise TypeError(f"{type(self).__name__} needs {name}")
            else:
                made[name] = default.copy() if isinstance(default, list | dict) else default
        if not values.keys() <= made.keys():
            raise TypeError(f"{type(self).__name__} has no {min(values.keys() - made.keys())}")
        made["_given"] = frozenset(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.model_fields)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.model_fields))

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.model_fields)
        return f"{type(self).__name__}({', '.join(values)})"

    @property
    def model_fields_set(self) -> frozenset[str]:
        """The fields that were given."""
        given: frozenset[str] = vars(self)["_given"]
        return given

    def with_(self, **changes: Any) -> Self:  # noqa: ANN401 - those of the fields
        """Return a copy with `changes` in place."""
        made = object.__new__(type(self))
        vars(made).update(vars(self), **changes, _given=self.model_fields_set | changes.keys())
        return made

    def model_dump(
        self, *, exclude_none: bool = False, exclude_unset: bool = False
    ) -> dict[str, Any]:
        """The JSON values of the record."""
        names = self.model_fields_set if exclude_unset else self.model_fields
        dumped = {}
        for name in self.model_fields:
            value = getattr(self, name)
            if name in names and not (exclude_none and value is None):
                dumped[name] = _json_value(value, exclude_none, exclude_unset)
        return dumped

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """The record as JSON."""
        return self.as_json(indent).decode("utf-8", "surrogateescape")

    def as_json(self, indent: int | None = None) -> bytes:
        """JSON in UTF-8, in one line or indented; names that aren't UTF-8 stay as they are."""
        separators = (",", ":") if indent is None else None
        shape: Any = {"ensure_ascii": False, "separators": separators, "default": _fields_of}
        if indent is not None:
            text = json.dumps(self, ensure_ascii=False, default=_fields_of)
            if len(text) > LARGE_CHARS and (data := _indented(self, indent)):
                return data
        text = json.dumps(self, indent=indent, **shape)
        return text.encode("utf-8", "surrogateescape")

    @classmethod
    def model_validate(cls, values: object) -> Self:
        """Make a record of JSON values; those in it that are records already stay as they are.

        Raises:
            ValidationError: they are not of this model.
        """
        from jerichoci.plan.validation import validate

        found: Self = validate(cls, values)
        return found

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Make a record of JSON."""
        return cls.model_validate(json.loads(text))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, handler: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Be a field of pydantic's own models."""
        from jerichoci.plan.validation import core_schema_of

        return core_schema_of(cls, handler)


class Setting(Model):
    """What people write by hand: a key that isn't known is a mistake of theirs."""

    model_forbids = True


def _fields_of(value: object) -> object:
    """What `json` doesn't know, in its values."""
    if isinstance(value, Model):
        return {name: getattr(value, name) for name in value.model_fields}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} is not for a record")


def _indented(record: Model, indent: int) -> bytes | None:
    """A large record as JSON; None if it has a name that isn't UTF-8."""
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(record, indent=indent, fallback=_fields_of)
    except PydanticSerializationError:
        return None


def _json_value(value: Any, *options: bool) -> Any:  # noqa: ANN401 - what a field has, and JSON
    exclude_none, exclude_unset = options
    match value:
        case Enum():
            return value.value
        case str() | int() | float() | None:
            return value
        case Model():
            return value.model_dump(exclude_none=exclude_none, exclude_unset=exclude_unset)
        case dict():
            return {key: _json_value(inner, *options) for key, inner in value.items()}
        case Path():
            return str(value)
        case _:
            return [_json_value(inner, *options) for inner in value]
