"""What was read before, made of what was kept of it: nothing is validated again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jerichoci.plan.model import Model
from jerichoci.state.answers import Answers, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RecordT = TypeVar("RecordT", bound=Model)
_CODE = Path(__file__).parent
_KIND = ""
"""The key that says of what kind an object is; a record that has one of that name isn't kept."""


def read_once(what: str, values: object, read: Callable[[Any], RecordT], answers: Path) -> RecordT:
    """What `read` makes of JSON values, once for the same values and the same code."""
    kept = Answers(answers)
    key = f"{what}-{key_of(values, _code())}"
    known = kept.find(key)
    if known is not None:
        models = {model.__name__: model for model in _models(Model)}
        made: RecordT = json.loads(known, object_hook=lambda found: _made(found, models))
        return made
    record = read(values)
    with suppress(ValueError):
        kept.keep(key, json.dumps(_described(record)).encode())
    return record


def _code() -> list[object]:
    """What changes with the code of models."""
    files = ((file.name, file.stat()) for file in sorted(_CODE.glob("*.py")))
    return [str(_CODE), *([name, is_.st_size, is_.st_mtime_ns] for name, is_ in files)]


def _models(base: type[Model]) -> Iterator[type[Model]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("jerichoci.plan."):
            yield model
            yield from _models(model)


def _described(value: Any) -> Any:  # noqa: ANN401 - what a plan has, and JSON
    match value:
        case Model():
            fields = {name: _described(getattr(value, name)) for name in value.model_fields}
            return {_KIND: type(value).__name__, "_given": sorted(value.model_fields_set), **fields}
        case dict():
            if _KIND in value:
                raise ValueError("an object has the key that says its kind")
            return {key: _described(inner) for key, inner in value.items()}
        case tuple():
            return {_KIND: "tuple", "of": [_described(inner) for inner in value]}
        case list():
            return [_described(inner) for inner in value]
    return value


def _made(found: dict[str, Any], models: dict[str, type[Model]]) -> Any:  # noqa: ANN401 - of any kind
    match found.pop(_KIND, None):
        case None:
            return found
        case "tuple":
            return tuple(found["of"])
        case name:
            record = object.__new__(models[name])
            vars(record).update(found, _given=frozenset(found["_given"]))
            return record
