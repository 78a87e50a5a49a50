"""Reading Nix source without Nix: its tokens, and the attribute sets of plain shapes.

Understood are functions of a name or a set, `let .. in`, `rec`, sets joined by `//`, and, if asked
for, a function applied to a set. Anything else is refused rather than guessed at.
"""

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
    literal: bool = True
    """Whether a string is all there, without `${}`."""


class UnknownShapeError(Exception):
    """Nix of a shape that this doesn't read."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def tokens(text: str) -> list[Token]:
    """The tokens of Nix source; what `${}` has inside a string follows that string.

    Raises:
        UnknownShapeError: a string or a comment doesn't end.
    """
    return _read(text, 0, 1, stop=None)[0]


def _read(text: str, at: int, line: int, stop: str | None) -> tuple[list[Token], int, int]:
    found: list[Token] = []
    depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise UnknownShapeError(line, f"{text[at : at + 10]!r} is nothing known")
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
        raise UnknownShapeError(line, "something opened doesn't end")
    return found, at, line


def _string(text: str, at: int, line: int, quote: str) -> tuple[list[Token], int, int]:
    """The string that starts at `at`: its own token, then those of its interpolations."""
    first, parts, inner, whole = line, [], [], True
    while at < len(text):
        if text.startswith("${", at):
            nested, at, line = _read(text, at + 2, line, stop="}")
            inner += nested
            whole = False
            continue
        if quote == "''" and text[at : at + 3] in {"'''", "''$", "''\\"}:
            parts.append(text[at : at + 3])
            at += 4 if text[at + 2] == "\\" else 3
            continue
        if text.startswith(quote, at):
            token = Token("string", "".join(parts), first, literal=whole)
            return [token, *inner], at + len(quote), line
        size = 2 if text[at] == "\\" and quote == '"' else 1
        # `$$` is two dollars: the second doesn't start an interpolation.
        size = 2 if text.startswith("$$", at) else size
        parts.append(text[at : at + size])
        line += text[at : at + size].count("\n")
        at += size
    raise UnknownShapeError(first, "a string doesn't end")


Attributes = dict[str, list[Token]]


def attributes(found: list[Token], *, applied: bool = False) -> Attributes:
    """The attributes of the set that an expression is; a dotted name stays one name.

    `applied`: the set may be what a function is applied to.

    Raises:
        UnknownShapeError: it is no set of a shape that is read here.
    """
    body = _body(found)
    read: Attributes = {}
    while body:
        start = next((index for index, token in enumerate(body) if token.text == "{"), None)
        if start is None or not _may_precede(body[:start], applied=applied):
            raise UnknownShapeError(body[0].line, "expected an attribute set")
        end = closing(body, start)
        read |= _bindings(body[start + 1 : end])
        body = body[end + 1 :]
        if body and (body[0].text != "//" or len(body) == 1):
            raise UnknownShapeError(body[0].line, f"expected the end, found {body[0].text!r}")
        body = body[1:]
    return read


def _may_precede(found: list[Token], *, applied: bool) -> bool:
    """Whether a set after these tokens is one that can be read: `rec`, or a function's name."""
    plain = not found or [token.text for token in found] == ["rec"]
    return plain or (applied and all(token.kind == "name" or token.text == "." for token in found))


def _body(found: list[Token]) -> list[Token]:
    """An expression without the parentheses, function heads and `let .. in` before it."""
    while found:
        texts = [token.text for token in found[:2]]
        if found[0].text == "(" and closing(found, 0) == len(found) - 1:
            found = found[1:-1]
        elif texts[0] == "let":
            found = found[_end_of_let(found) + 1 :]
        elif found[0].kind == "name" and texts[1:] == [":"]:
            found = found[2:]
        elif found[0].kind == "name" and texts[1:] == ["@"]:
            found = found[closing(found, 2) + 2 :]
        elif texts[0] == "{" and _is_head(found):
            end = closing(found, 0) + 1
            found = found[end + (3 if found[end].text == "@" else 1) :]
        else:
            return found
    raise UnknownShapeError(1, "there is nothing to read")


def _is_head(found: list[Token]) -> bool:
    after = closing(found, 0) + 1
    return after < len(found) and found[after].text in {":", "@"}


def _end_of_let(found: list[Token]) -> int:
    depth = at = 0
    while at < len(found):
        token = found[at]
        if token.text in _OPENING and token.kind == "mark":
            at = closing(found, at)
        elif token.kind == "name":
            depth += (token.text == "let") - (token.text == "in")
            if not depth:
                return at
        at += 1
    raise UnknownShapeError(found[0].line, "a `let` without its `in`")


def closing(found: list[Token], start: int) -> int:
    """Where what opens at `start` closes.

    Raises:
        UnknownShapeError: it doesn't.
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
    raise UnknownShapeError(found[min(start, len(found) - 1)].line, "something opened doesn't end")


def _bindings(found: list[Token]) -> Attributes:
    read: Attributes = {}
    while found:
        end = _statement_end(found)
        statement, found = found[:end], found[end + 1 :]
        if statement[0].text == "inherit" and statement[0].kind == "name":
            start = closing(statement, 1) + 1 if statement[1].text == "(" else 1
            read |= {token.text: [token] for token in statement[start:]}
            continue
        equals = next((i for i, token in enumerate(statement) if token.text == "="), None)
        names = statement[:equals]
        if equals is None or any(
            token.kind != "name" and token.text != "." and not (token.kind == "string")
            for token in names
        ):
            raise UnknownShapeError(
                statement[0].line, f"{statement[0].text!r} is no attribute's name"
            )
        read["".join(token.text for token in names)] = statement[equals + 1 :]
    return read


def _statement_end(found: list[Token]) -> int:
    """Where the `;` of the first statement is: not one inside brackets or a `let`."""
    at = lets = 0
    while at < len(found):
        token = found[at]
        if token.kind == "mark" and token.text in _OPENING:
            at = closing(found, at)
        elif token.kind == "name":
            lets += (token.text == "let") - (token.text == "in")
        elif token.text == ";" and not lets:
            return at
        at += 1
    raise UnknownShapeError(found[0].line, "an attribute without its `;`")
