"""Annotations: what the starter of a run wants to find again in its record, as KEY=VALUE."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_BYTES = 1024
"""Of one; the record has it, and so have the first and the last event."""
MOST = 32
_FORM = re.compile(r"([a-z0-9][a-z0-9._/-]{0,63})=(.*)", re.DOTALL)
_HINT = (
    "one is KEY=VALUE: a key of lower-case letters, digits and `._/-`, at most 64, and a line of"
    f" text, at most {MOST_BYTES} bytes together"
)


def parse_annotations(texts: Iterable[str]) -> dict[str, str]:
    """Read annotations."""
    found: dict[str, str] = {}
    for text in texts:
        parts = _FORM.fullmatch(text)
        # What is not printable may not be UTF-8 either.
        if parts is None or not parts[2].isprintable() or len(text.encode()) > MOST_BYTES:
            shown = text[:80] + ("..." if len(text) > 80 else "")  # noqa: PLR2004 - a line
            raise UsageError(f"{shown!r} is not an annotation", _HINT)
        if parts[1] in found:
            raise UsageError(f"the annotation {parts[1]!r} is given twice", "give each key once")
        found[parts[1]] = parts[2]
    if len(found) > MOST:
        raise UsageError(f"there are {len(found)} annotations", f"give at most {MOST}")
    return found
