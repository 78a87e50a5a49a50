"""Plain lines for people on a CI server: none of them is a command to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pikaci.render.feed import Out

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

    from pikaci.render.ci.markup import Markup


class GuardedOut(Out):
    """An output of whole lines, none of which is a command."""

    def __init__(self, stream: TextIO, name: str, words: Markup) -> None:
        super().__init__(stream, name)
        self._words = words

    def write(self, data: str | ReadableBuffer) -> int:
        """Write lines."""
        if isinstance(data, str):
            lines = data.removesuffix("\n").split("\n")
            data = "".join(map(self._words.outside, lines))
        return super().write(data)
