"""The base of every record: frozen, and tolerant of what a later version adds."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN

SCHEMA_VERSION = 1

Id = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
RunId = Annotated[str, Field(pattern=f"^{RUN_ID_PATTERN}$")]
Timestamp = Annotated[str, Field(description="RFC 3339, UTC, milliseconds")]


class Model(BaseModel):
    """A frozen record; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def with_(self, **changes: Any) -> Self:  # noqa: ANN401 - as model_copy, whose values are Any
        """Return a copy with `changes` in place."""
        return self.model_copy(update=changes)


class Setting(Model):
    """What people write by hand: a key that isn't known is a mistake of theirs."""

    # A plan may carry settings that a later version knows more of: its schema doesn't close them.
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=lambda schema: schema.pop("additionalProperties", None),
    )


def describe(error: ValidationError) -> str:
    """The first thing pydantic found wrong, as `path: what`, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    path = ".".join(str(part) for part in first["loc"] if part != "[key]")
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        text = "this key is not known"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return (f"{path}: {text}" if path else text) + more
