"""The one place where an argv becomes a line for a shell.

ssh has no argv: what is asked for goes as one text to the login shell of the user there. It is
written so that csh and fish read it as a POSIX shell does, unless there is a line break in it,
which csh can't have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*")
_APART = re.compile(r"(['\\!])")


def shell_line(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """The line whose shell becomes `argv`, in the directory `cwd` if there is one.

    Bytes that are no UTF-8 are surrogates in the line as they are in `argv`: encode it with
    "surrogateescape" to send it.
    """
    if not argv:
        raise ValueError("an empty argv names no program")
    words = [*argv, *([str(cwd)] if cwd else [])]
    for word in words:
        if "\0" in word:
            raise ValueError(f"no argv has a NUL: {word!r}")
    line = f"exec {' '.join(map(_quoted, argv))}"
    return f"cd -- {_quoted(str(cwd))} && {line}" if cwd else line


def _quoted(word: str) -> str:
    """A word as every shell reads it: what one of them knows between single quotes is outside."""
    if _PLAIN.fullmatch(word):
        return word
    parts = _APART.split(word)
    return (
        "".join(f"\\{part}" if _APART.fullmatch(part) else f"'{part}'" for part in parts if part)
        or "''"
    )


def encoded(line: str) -> bytes:
    """The bytes of a line, to give to asyncssh as `command`; as text it must be UTF-8."""
    return line.encode("utf-8", "surrogateescape")
