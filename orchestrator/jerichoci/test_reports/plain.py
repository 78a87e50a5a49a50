"""Text of a stranger made plain: no escape sequences, no invisible characters, no more than asked.

What can't be shown is written as Python escapes it, so that a name stays one that can be told from
another.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, movements
    r"|\x1b[\]PX^_k][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, links, pictures
    r"|\x1b[ -/]*[0-~]"
)
MOST_ESCAPED = 8
"""How many times longer a text may be that is cut: escape sequences take room, too."""


def without_escapes(text: str) -> str:
    """A text without escape sequences."""
    return _ESCAPE.sub("", text)


def plain(text: str, most: int, *, lines: bool = False) -> str:
    """A text of at most `most` characters; on one line, unless `lines`."""
    text = text[: most * MOST_ESCAPED].strip()
    if not text.isprintable():
        text = without_escapes(text)
        kept = "\n\t" if lines else ""
        text = text.replace("\r\n", "\n") if lines else " ".join(text.split())
        text = "".join(
            char if char.isprintable() or char in kept else char.encode("unicode_escape").decode()
            for char in text
        )
    return text if len(text) <= most else text[: most - 1] + "…"
