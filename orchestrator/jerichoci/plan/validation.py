"""Models as pydantic's own, to validate values and to describe them."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import pydantic
from pydantic_core import core_schema

from jerichoci.plan.rule import REQUIRED, Rule, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter


def validate(kind: Any, values: object) -> Any:  # noqa: ANN401 - a type, and a value of it
    """Make a value of a type of JSON values.

    Raises:
        ValidationError: they are not of that type.
    """
    try:
        return adapter(kind).validate_python(values)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise ValidationError([(each["loc"], _words(each)) for each in found]) from error


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type
    """Pydantic's adapter of a type in which models and rules are."""
    return pydantic.TypeAdapter(_real(kind))


def core_schema_of(model: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401 - a subclass of Model
    """The core schema of a model: that of pydantic's, of whose result the record is made."""

    def validated(value: object, inner: Callable[[object], BaseModel]) -> object:
        if isinstance(value, model):
            return value
        found = inner(value)
        record = object.__new__(model)
        vars(record).update(vars(found), _given=frozenset(found.model_fields_set))
        for name in model.model_checks:
            getattr(record, name)()
        return record

    return core_schema.no_info_wrap_validator_function(
        validated,
        handler.generate_schema(_pydantic_model(model)),
        serialization=core_schema.plain_serializer_function_ser_schema(_dumped),
    )


def _dumped(record: Any) -> dict[str, Any]:  # noqa: ANN401 - a Model
    values: dict[str, Any] = record.model_dump()
    return values


@cache
def _pydantic_model(model: Any) -> type[BaseModel]:  # noqa: ANN401 - a subclass of Model
    hints = get_type_hints(model, include_extras=True)
    fields: dict[str, Any] = {}
    for name, default in model.model_fields.items():
        value = getattr(model, name, REQUIRED)
        if isinstance(value, Rule):
            value = _real(value)
        fields[name] = (
            _real(hints[name]),
            ... if default is REQUIRED and value is REQUIRED else value,
        )
    config: ConfigDict = {"extra": "ignore"}
    if model.model_forbids:
        # A plan may have settings that a later version knows more of: its schema is open.
        config = {"extra": "forbid", "json_schema_extra": _open}
    made: type[BaseModel] = pydantic.create_model(
        model.__name__,
        __config__=config,
        __doc__=model.__doc__,
        __module__=model.__module__,
        **fields,
    )
    return made


def _open(schema: dict[str, Any]) -> None:
    schema.pop("additionalProperties", None)


def _real(kind: Any) -> Any:  # noqa: ANN401 - a type
    """A type with pydantic's own in place of rules."""
    if isinstance(kind, Rule):
        return getattr(pydantic, kind.name)(*kind.args, **kind.values)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is None or origin is Literal or not inner:
        return kind
    made = tuple(_real(each) for each in inner)
    if origin is UnionType:
        return Union[made]  # noqa: UP007 - of types that are known only now
    return Annotated[made] if origin is Annotated else origin[made]


def _words(problem: Any) -> str:  # noqa: ANN401 - pydantic's description of an error
    if problem["type"] == "extra_forbidden":
        return "this key is not known"
    text: str = problem["msg"].removeprefix("Value error, ")
    return text
