r"""Path globs with the meaning they have in ripgrep's globset with literal separators.

- `**` as a whole component stands for any number of components: `**/x` matches `x`, `a/**/b`
  matches `a/b`, `a/**` matches everything below `a` but not `a` itself. Beside other characters it
  is two `*`.
- `*` and `?` never match `/`. Names that start with a dot match like others. Case counts.
- `{a,b}` stands for the patterns with `a` and with `b` in its place; alternatives nest and may be
  empty.
- `[ab]`, `[a-z]`, `[!a]` and `[^a]` stand for one character, which is `/` if the class says so; a
  backslash in a class is a backslash.
- Elsewhere `\` takes the special meaning from the character that follows.

wcmatch does the matching. What it reads otherwise is settled here, before it sees the pattern:
braces, classes, and empty components. A pattern is checked when it is read; wcmatch is imported and
the pattern compiled when it is first matched, because that costs a command's start-up.

Paths are as git prints them: relative, `/` between components, none empty, `.` or `..`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby, product
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# More would be a typo, and cost as many regular expressions.
MAX_ALTERNATIVES = 1000
# Nobody writes more, and the parser recurses.
MAX_DEPTH = 50

_SEPARATOR = "/"
_SPECIAL = frozenset("*?[]\\")
# wcmatch gives these a meaning at the start of a class, or anywhere in one.
_SPECIAL_IN_CLASS = frozenset("!^-[]\\:&|~")


class GlobError(UsageError):
    """A pattern that is no glob."""


class _Kind(StrEnum):
    TEXT = "text"
    WILD = "wild"
    STARS = "stars"
    CLASS = "class"


@dataclass(frozen=True)
class _Token:
    """A piece of a pattern without braces: `value` is as wcmatch reads it."""

    kind: _Kind
    value: str

    @property
    def text(self) -> str:
        return "*" if self.kind is _Kind.STARS else self.value


_Flat = tuple[_Token, ...]
_SLASH = _Token(_Kind.TEXT, _SEPARATOR)
# A `/` that a class stands for separates, but makes no component out of a `**` beside it.
_SLASH_IN_CLASS = _Token(_Kind.CLASS, _SEPARATOR)


@dataclass(frozen=True)
class Glob:
    """One pattern, read and checked."""

    pattern: str
    alternatives: tuple[str, ...]
    """The patterns without braces that it stands for, as wcmatch reads them."""

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        from wcmatch import glob

        flags = glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX | glob.CASE
        return re.compile(
            "|".join(glob.translate(text, flags=flags)[0][0] for text in self.alternatives)
        )

    def matches(self, path: str) -> bool:
        """Whether the whole of `path` fits."""
        return bool(self.alternatives) and self._regex.fullmatch(path) is not None


@dataclass(frozen=True)
class GlobSet:
    """Globs compiled once to match many paths."""

    globs: tuple[Glob, ...]

    def match(self, path: str) -> str | None:
        """The first pattern that matches `path`."""
        return next((glob.pattern for glob in self.globs if glob.matches(path)), None)


def compile_globs(patterns: Iterable[str]) -> GlobSet:
    """Read and check `patterns`.

    Raises:
        GlobError: one of them is no glob.
    """
    return GlobSet(tuple(map(parse_glob, patterns)))


def parse_glob(pattern: str) -> Glob:
    """Read and check one pattern.

    Raises:
        GlobError: a bracket, brace or escape isn't complete, or a range runs backwards.
    """
    try:
        flats = _Parser(pattern).parse()
    except GlobError as error:
        raise GlobError(f"the glob `{pattern}` {error.message}", error.hint) from None
    texts = (_render(flat) for flat in flats)
    # wcmatch reads `//` as `/`, and some versions a last `/` as nothing; but no path has an empty
    # component.
    return Glob(pattern, tuple(text for text in texts if "//" not in f"{text}/"))


class _Parser:
    """Reads a pattern into the patterns without braces that it stands for."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def parse(self) -> list[_Flat]:
        flats = self._sequence(depth=0)
        if self._at < len(self._pattern):
            raise GlobError("has a `}` without its `{`", "say `[}]` for the character")
        return flats

    def _sequence(self, depth: int) -> list[_Flat]:
        """Read up to the end, or inside braces up to their next `,` or `}`."""
        flats: list[_Flat] = [()]
        while self._at < len(self._pattern):
            char = self._pattern[self._at]
            if char == "}" or (char == "," and depth):
                break
            flats = _joined(flats, self._item(char, depth))
        return flats

    def _item(self, char: str, depth: int) -> list[_Flat]:
        match char:
            case "{":
                return self._braces(depth + 1)
            case "[":
                return self._class()
            case "*":
                return [(self._stars(),)]
            case "?":
                self._at += 1
                return [(_Token(_Kind.WILD, "?"),)]
            case _:
                return [(self._text(char),)]

    def _text(self, char: str) -> _Token:
        self._at += 1
        if char == "\\":
            if self._at == len(self._pattern):
                raise GlobError("ends in a `\\` that escapes nothing", "say `\\\\` for a backslash")
            char = self._pattern[self._at]
            self._at += 1
        return _Token(_Kind.TEXT, _escaped(char, _SPECIAL))

    def _stars(self) -> _Token:
        start = self._at
        while self._pattern[self._at : self._at + 1] == "*":
            self._at += 1
        return _Token(_Kind.STARS, self._pattern[start : self._at])

    def _braces(self, depth: int) -> list[_Flat]:
        if depth > MAX_DEPTH:
            raise GlobError(f"nests braces deeper than {MAX_DEPTH}")
        flats: list[_Flat] = []
        separator = "{"
        while separator in {"{", ","}:
            self._at += 1
            flats += self._sequence(depth)
            separator = self._pattern[self._at : self._at + 1]
        if separator != "}":
            raise GlobError("has a `{` without its `}`", "say `[{]` for the character")
        self._at += 1
        return flats

    def _class(self) -> list[_Flat]:
        body = self._class_body()
        negated = body[:1] in {"!", "^"}
        ranges = _ranges(body[1:] if negated else body)
        members = "".join(map(_range_text, _without_separator(ranges)))
        flats: list[_Flat] = []
        if members or negated:
            text = f"[{'!' if negated else ''}{members}]" if members else "?"
            flats.append((_Token(_Kind.CLASS, text),))
        if negated != any(low <= _SEPARATOR <= high for low, high in ranges):
            flats.append((_SLASH_IN_CLASS,))
        return flats

    def _class_body(self) -> str:
        start = self._at + 1
        first = start + (self._pattern[start : start + 1] in {"!", "^"})
        # A `]` that comes first is a member.
        end = self._pattern.find("]", first + 1)
        if end < 0:
            raise GlobError("has a `[` without its `]`", "say `[[]` for the character")
        self._at = end + 1
        return self._pattern[start:end]


def _joined(heads: list[_Flat], tails: list[_Flat]) -> list[_Flat]:
    if len(heads) * len(tails) > MAX_ALTERNATIVES:
        raise GlobError(f"stands for more than {MAX_ALTERNATIVES} patterns", "use several globs")
    return [head + tail for head, tail in product(heads, tails)]


def _ranges(members: str) -> list[tuple[str, str]]:
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(members):
        low = high = members[at]
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            high = members[at + 2]
            at += 2
        if high < low:
            raise GlobError(f"has the range `{low}-{high}`, which runs backwards")
        ranges.append((low, high))
        at += 1
    return ranges


def _without_separator(ranges: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Cut `/` out of each range: to wcmatch a class that has one is no class."""
    before, after = chr(ord(_SEPARATOR) - 1), chr(ord(_SEPARATOR) + 1)
    for low, high in ranges:
        if not low <= _SEPARATOR <= high:
            yield low, high
            continue
        if low <= before:
            yield low, before
        if after <= high:
            yield after, high


def _range_text(bounds: tuple[str, str]) -> str:
    low, high = (_escaped(bound, _SPECIAL_IN_CLASS) for bound in bounds)
    return low if low == high else f"{low}-{high}"


def _escaped(char: str, special: frozenset[str]) -> str:
    return f"\\{char}" if char in special else char


def _render(flat: _Flat) -> str:
    """Put the tokens together; stars that aren't a whole component's `**` are one `*`."""
    neighbours = zip((_SLASH, *flat), flat, (*flat[1:], _SLASH), strict=False)
    pieces = [
        "**" if token.value == "**" and before == after == _SLASH else token.text
        for before, token, after in neighbours
    ]
    return "".join("*" if piece == "*" else "".join(run) for piece, run in groupby(pieces))
