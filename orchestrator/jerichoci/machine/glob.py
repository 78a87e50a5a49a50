r"""Path globs with the meaning they have in ripgrep's globset 0.4 with literal separators.

- `**` as a whole component stands for any number of components: `**/x` matches `x`, `a/**/b`
  matches `a/b`, `a/**` matches everything below `a` but not `a` itself; `**` and `**/` match all.
  Beside other characters it is two `*`.
- `*` and `?` never match `/`. Names that start with a dot match like others. Case counts.
- `{a,b}` stands for `a` and for `b`; alternatives nest. An empty one is left out: `a{,.txt}` does
  not match `a`. A `**` at the beginning of one is whole if `/` follows: `x{a,**/b}` matches `xb`;
  `a/{**,b}` is `a/{*,b}`.
- `[ab]`, `[a-z]`, `[!a]` and `[^a]` stand for one byte, which is `/` if the class says so; a
  backslash in a class is a backslash. `?` and classes see bytes: `é` is `??`.
- Elsewhere `\` takes the special meaning from the character that follows.

A glob is matched by the set of places in a path that its beginning may reach, so that no glob takes
long. Paths are as git prints them: relative, `/` between components, none empty, `.` or `..`.
"""

from __future__ import annotations

import os
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 50
"""Enough for any real pattern; the parser recurses."""

_SLASH = ord("/")


class GlobError(UsageError):
    """A pattern that is no glob."""


class _Wild(Enum):
    BYTE = auto()  # ?
    STAR = auto()  # *
    PREFIX = auto()  # **/ at the beginning: (?:/?|.*/)
    MIDDLE = auto()  # /**/: (?:/|/.*/)
    SUFFIX = auto()  # /**: /.*


@dataclass(frozen=True)
class _Class:
    """The bytes that a class stands for."""

    members: frozenset[int]


@dataclass(frozen=True)
class _Either:
    """Braces, without their empty alternatives."""

    choices: tuple[_Tokens, ...]


_Token = bytes | _Wild | _Class | _Either
_Tokens = tuple[_Token, ...]


@dataclass(frozen=True)
class Glob:
    """One pattern, read and checked."""

    pattern: str
    tokens: _Tokens

    @cached_property
    def _end(self) -> bytes:
        """The text that a path must end with; most paths end otherwise."""
        end = b""
        for token in reversed(self.tokens):
            if not isinstance(token, bytes):
                break
            end = token + end
        return end

    def matches(self, path: str) -> bool:
        """Whether the whole of `path` fits."""
        if self.tokens == (_Wild.PREFIX,):
            return True
        data = os.fsencode(path)
        return data.endswith(self._end) and len(data) in _reach(self.tokens, data, {0})


@dataclass(frozen=True)
class GlobSet:
    """Globs compiled once to match many paths."""

    globs: tuple[Glob, ...]

    def match(self, path: str) -> str | None:
        """The first pattern that matches `path`."""
        return next((glob.pattern for glob in self.globs if glob.matches(path)), None)


def compile_globs(patterns: Iterable[str]) -> GlobSet:
    """Read and check `patterns`."""
    return GlobSet(tuple(map(parse_glob, patterns)))


def parse_glob(pattern: str) -> Glob:
    """Read and check one pattern."""
    try:
        return Glob(pattern, _Parser(pattern).parse())
    except GlobError as error:
        raise GlobError(f"the glob `{pattern}` {error.message}", error.hint) from None


def _reach(tokens: _Tokens, path: bytes, places: set[int]) -> set[int]:
    """Where in `path` the tokens may end that begin at one of `places`."""
    for token in tokens:
        if not places:
            break
        match token:
            case bytes():
                places = {at + len(token) for at in places if path.startswith(token, at)}
            case _Class():
                members = token.members
                places = {at + 1 for at in places if at < len(path) and path[at] in members}
            case _Either():
                places = set().union(*(_reach(each, path, places) for each in token.choices))
            case _Wild():
                places = _reach_wild(token, path, places)
    return places


def _reach_wild(token: _Wild, path: bytes, places: set[int]) -> set[int]:
    end = len(path)
    at_slash = {at for at in places if at < end and path[at] == _SLASH}
    match token:
        case _Wild.BYTE:
            return {at + 1 for at in places if at < end} - {at + 1 for at in at_slash}
        case _Wild.STAR:
            return {to for at in places for to in range(at, _slash_from(path, at) + 1)}
        case _Wild.SUFFIX:
            return set(range(min(at_slash, default=end) + 1, end + 1))
        case _Wild.MIDDLE:
            beyond = _behind_slashes(path, min(at_slash, default=end) + 1)
            return {at + 1 for at in at_slash} | beyond
        case _Wild.PREFIX:
            return places | _behind_slashes(path, min(places))


def _slash_from(path: bytes, at: int) -> int:
    found = path.find(b"/", at)
    return len(path) if found < 0 else found


def _behind_slashes(path: bytes, start: int) -> set[int]:
    return {at + 1 for at in range(start, len(path)) if path[at] == _SLASH}


class _Parser:
    """Reads a pattern as globset does, character by character."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def parse(self) -> _Tokens:
        tokens = self._sequence(depth=0)
        if self._peek():
            raise GlobError("has a `}` without its `{`", "say `[}]` for the character")
        return tokens

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _bump(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _sequence(self, depth: int) -> _Tokens:
        """Read up to the end, or inside braces up to their next `,` or `}`."""
        tokens: list[_Token] = []
        while (char := self._peek()) and char != "}" and (char != "," or not depth):
            before = self._pattern[self._at - 1] if self._at else ""
            self._at += 1
            match char:
                case "{":
                    tokens += self._braces(depth + 1)
                case "[":
                    tokens.append(self._class())
                case "*":
                    self._stars(tokens, before, depth)
                case "?":
                    tokens.append(_Wild.BYTE)
                case _:
                    tokens.append(os.fsencode(self._escaped() if char == "\\" else char))
        return tuple(tokens)

    def _escaped(self) -> str:
        if not self._peek():
            raise GlobError("ends in a `\\` that escapes nothing", "say `\\\\` for a backslash")
        return self._bump()

    def _stars(self, tokens: list[_Token], before: str, depth: int) -> None:
        """Read what follows a `*` that may be the first of `**`."""
        if self._peek() != "*":
            tokens.append(_Wild.STAR)
            return
        self._at += 1
        after = self._peek()
        if not tokens and after in {"", "/"}:
            self._at += 1
            tokens.append(_Wild.PREFIX)
            return
        is_end = not after or (after in {",", "}"} and depth > 0)
        if not tokens or before != "/" or not (is_end or after == "/"):
            tokens += (_Wild.STAR, _Wild.STAR)
            return
        if after == "/" or not after:
            self._at += 1
        last = tokens.pop()
        if last in {_Wild.PREFIX, _Wild.SUFFIX}:
            tokens.append(last)
        else:
            tokens.append(_Wild.SUFFIX if is_end else _Wild.MIDDLE)

    def _braces(self, depth: int) -> tuple[_Either, ...]:
        if depth > MAX_DEPTH:
            raise GlobError(f"nests braces deeper than {MAX_DEPTH}")
        choices = [self._sequence(depth)]
        while (separator := self._bump()) == ",":
            choices.append(self._sequence(depth))
        if separator != "}":
            raise GlobError("has a `{` without its `}`", "say `[{]` for the character")
        # Braces without any text in them are as if they were not there.
        full = tuple(choice for choice in choices if choice)
        return (_Either(full),) if full else ()

    def _class(self) -> _Class:
        negated = self._peek() in {"!", "^"}
        self._at += negated
        ranges: list[tuple[str, str]] = []
        is_range = False
        while (char := self._bump()) != "]" or not ranges:
            if not char:
                raise GlobError("has a `[` without its `]`", "say `[[]` for the character")
            if is_range:
                low, _ = ranges.pop()
                if char < low:
                    raise GlobError(f"has the range `{low}-{char}`, which runs backwards")
                ranges.append((low, char))
                is_range = False
            elif char == "-" and ranges:
                is_range = True
            else:
                ranges.append((char, char))
        if is_range:
            ranges.append(("-", "-"))
        members = {byte for low, high in ranges for byte in _bytes_between(low, high)}
        return _Class(frozenset(range(256)) - members if negated else frozenset(members))


def _bytes_between(low: str, high: str) -> set[int]:
    """What globset's regular expression makes of a range: one of the last byte and the first."""
    first, last = os.fsencode(low), os.fsencode(high)
    if low == high:
        return set(first)
    return {*first[:-1], *range(first[-1], last[0] + 1), *last[1:]}
