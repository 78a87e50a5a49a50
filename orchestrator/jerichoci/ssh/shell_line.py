"""The one place where an argv becomes a line for a shell.

ssh has no argv: what is asked for goes as one text to the login shell of the user there, which has
to be one that reads as POSIX says: sh, dash, bash, zsh, ksh, ash.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def shell_line(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """The line whose shell becomes `argv`, in the directory `cwd` if there is one.

    Bytes that are no UTF-8 are surrogates in the line as they are in `argv`, so whoever sends it
    encodes it with "surrogateescape".

    Raises:
        ValueError: there is no program, or a word has a NUL, which no argv can have.
    """
    if not argv:
        raise ValueError("an empty argv names no program")
    words = [*argv, *([str(cwd)] if cwd else [])]
    for word in words:
        if "\0" in word:
            raise ValueError(f"no argv has a NUL: {word!r}")
    line = f"exec {shlex.join(argv)}"
    return f"cd -- {shlex.quote(str(cwd))} && {line}" if cwd else line


def encoded(line: str) -> bytes:
    """The bytes of a line, to give to asyncssh as `command`; as text it must be UTF-8."""
    return line.encode("utf-8", "surrogateescape")
