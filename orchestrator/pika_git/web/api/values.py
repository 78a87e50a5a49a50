"""What requests are made of: checked before a route sees it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

LARGEST_ID = 2**63 - 1
LONGEST_TEXT = 2000

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
"""An id in a URL."""


Cursor = Annotated[str | None, Query(max_length=200)]
"""Where a list continues: the `next` of the page before."""


def _text(value: str) -> str:
    if not all(char.isprintable() or char.isspace() for char in value):  # no lone surrogates, too
        raise ValueError("has characters that can't be shown")
    return value


Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(_text)]


class Body(BaseModel):
    """A request's body; a key that it does not have is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Why(Body):
    """Why something is done; kept in the audit."""

    why: Text = ""


class Done(BaseModel):
    """It was done."""

    done: str


class Began(BaseModel):
    """The run that it began."""

    run_id: int
