"""Text of jobs in Markdown: shown as it is, whatever is in it."""

from __future__ import annotations

import html
import re

from pikaci.screen import shown

_SPECIAL = re.compile(r"[\\`*_\[\]<>#!|&~@$]|:(?=//)|(?<=w)\.|^[-+=]|(?<=^\d)\d*[.)]")
"""What is markup, or begins a link, or is markup at the begin of a line."""


def text(words: str, limit: int = 1000) -> str:
    """A text for one line, of which nothing is markup, a link or a mention."""
    line = " ".join(map(shown, words[: limit + 1].splitlines())).strip()
    if len(line) > limit:
        line = f"{line[:limit]} ..."
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(char)};" for char in found[0]), line)


def block(lines: list[str]) -> str:
    """Lines as they are, in fixed width."""
    body = "\n".join(html.escape(shown(line), quote=False) for line in lines)
    return f"<pre>\n{body}\n</pre>"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
