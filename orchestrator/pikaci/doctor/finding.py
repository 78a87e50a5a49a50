"""One thing that was checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.errors import PikaciError

MIB = 2**20
LITTLE_BYTES = 2**30
FULL_BYTES = 2**24
"""With less no run comes to anything."""
FEW_FILES, NO_FILES = 10_000, 100


@dataclass(frozen=True)
class Finding:
    """What is so; and unless that is as it should be, what to do."""

    name: str
    status: Literal["ok", "note", "bad"]
    text: str
    hint: str | None = None
    host: str | None = None
    """The host that it is about; None for this machine."""


def ok(name: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(name, "ok", text)


def note(name: str, text: str, hint: str) -> Finding:
    """It could be better, or something optional is missing."""
    return Finding(name, "note", text, hint)


def bad(name: str, text: str, hint: str, *, needed: bool = True) -> Finding:
    """It keeps something from working; only a note unless that is needed."""
    return Finding(name, "bad" if needed else "note", text, hint)


def trouble(name: str, error: PikaciError, hint: str = "", *, needed: bool = True) -> Finding:
    """The message of an error; `hint` where it has none."""
    return bad(name, error.message, error.hint or hint, needed=needed)


def room(  # noqa: PLR0913 - what there is, and how to say it
    name: str, place: str, free: int, files: int | None, hint: str, *, needed: bool = True
) -> Finding:
    """The room that a disk has, in bytes and in files, if it counts them."""
    text = f"{free // MIB} MiB free {place}"
    if files is not None and files < FEW_FILES:
        text += f", room for {files} files"
    if free < FULL_BYTES or (files is not None and files < NO_FILES):
        return bad(name, text, hint, needed=needed)
    if free < LITTLE_BYTES or (files is not None and files < FEW_FILES):
        return note(name, text, hint)
    return ok(name, text)
