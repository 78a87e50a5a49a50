"""What models are written with: pydantic's own, made when values are validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIRED: Any = object()
"""In place of a default."""

MethodT = TypeVar("MethodT")


class Rule:
    """Something of pydantic's by its name, with what it is made with."""

    def __init__(self, name: str, *args: object, **values: Any) -> None:  # noqa: ANN401 - pydantic's
        self.name = name
        self.args = args
        self.values = values

    def default(self) -> Any:  # noqa: ANN401 - of any type
        """The default that a field has, or REQUIRED."""
        factory = self.values.get("default_factory")
        return factory() if factory else self.values.get("default", REQUIRED)


def field(**values: Any) -> Any:  # noqa: ANN401 - a default, or in `Annotated` a rule
    """Pydantic's `Field`."""
    return Rule("Field", **values)


def after(check: Callable[[Any], Any]) -> Rule:
    """Pydantic's `AfterValidator`."""
    return Rule("AfterValidator", check)


def before(change: Callable[[Any], Any]) -> Rule:
    """Pydantic's `BeforeValidator`."""
    return Rule("BeforeValidator", change)


def strict() -> Rule:
    """Pydantic's `Strict`."""
    return Rule("Strict")


def check(method: MethodT) -> MethodT:
    """A method that raises a ValueError if a model's values, each right, are wrong together."""
    method.is_check = True  # type: ignore[attr-defined]
    return method


class ValidationError(ValueError):
    """Values are not those of a model; `problems` are what pydantic found, `path: what`."""

    def __init__(self, problems: list[tuple[tuple[str | int, ...], str]]) -> None:
        (path, what), *more = problems
        where = ".".join(str(part) for part in path if part != "[key]")
        others = f" (and {len(more)} more)" if more else ""
        super().__init__((f"{where}: {what}" if where else what) + others)
        self.problems = problems
