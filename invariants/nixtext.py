"""The tokens of Nix source, read without Nix."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|\#[^\n]*|/\*.*?\*/)
    | (?P<open>''|")
    | (?P<search><[A-Za-z0-9._+/-]+>)
    | (?P<path>(?:\.{1,2}|~|[A-Za-z0-9._-]+)?(?:/[A-Za-z0-9._+-]+)+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_'-]*)
    | (?P<number>[0-9][0-9.]*)
    | (?P<mark>\.\.\.|//|\+\+|==|!=|<=|>=|&&|\|\||->|\$\{|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = {"{": "}", "[": "]", "(": ")", "${": "}"}


@dataclass(frozen=True)
class Token:
    """A piece of Nix: `kind` is string, search, path, name, number or mark."""

    kind: str
    text: str
    line: int


class NixSyntaxError(Exception):
    """Text that is not Nix."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def tokens(text: str) -> list[Token]:
    """The tokens of Nix source; what `${}` has inside a string follows that string.

    Raises:
        NixSyntaxError: a string or a comment doesn't end.
    """
    return _read(text, 0, 1, stop=None)[0]


def _read(text: str, at: int, line: int, stop: str | None) -> tuple[list[Token], int, int]:
    found: list[Token] = []
    depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise NixSyntaxError(line, f"{text[at : at + 10]!r} is nothing known")
        kind, piece = str(match.lastgroup), match[0]
        if kind == "open":
            inner, at, line = _string(text, match.end(), line, piece)
            found += inner
            continue
        if piece in {"{", "${"}:
            depth += 1
        elif piece == "}":
            if stop and not depth:
                return found, match.end(), line
            depth -= 1
        if kind != "space":
            found.append(Token(kind, piece, line))
        line += piece.count("\n")
        at = match.end()
    if stop:
        raise NixSyntaxError(line, "something opened doesn't end")
    return found, at, line


def _string(text: str, at: int, line: int, quote: str) -> tuple[list[Token], int, int]:
    """The string that starts at `at`: its own token, then those of its interpolations."""
    first, parts, inner = line, [], []
    while at < len(text):
        if text.startswith("${", at):
            nested, at, line = _read(text, at + 2, line, stop="}")
            inner += nested
            continue
        if quote == "''" and text[at : at + 3] in {"'''", "''$", "''\\"}:
            parts.append(text[at : at + 3])
            at += 4 if text[at + 2] == "\\" else 3
            continue
        if text.startswith(quote, at):
            token = Token("string", "".join(parts), first)
            return [token, *inner], at + len(quote), line
        size = 2 if text[at] == "\\" and quote == '"' else 1
        # `$$` is two dollars: the second doesn't start an interpolation.
        size = 2 if text.startswith("$$", at) else size
        parts.append(text[at : at + size])
        line += text[at : at + size].count("\n")
        at += size
    raise NixSyntaxError(first, "a string doesn't end")


def closing(found: list[Token], start: int) -> int:
    """Where what opens at `start` closes.

    Raises:
        NixSyntaxError: it doesn't.
    """
    expected: list[str] = []
    for index in range(start, len(found)):
        token = found[index]
        if token.kind != "mark":
            continue
        if token.text in _OPENING:
            expected.append(_OPENING[token.text])
        elif expected and token.text == expected[-1]:
            expected.pop()
            if not expected:
                return index
    raise NixSyntaxError(found[min(start, len(found) - 1)].line, "something opened doesn't end")
