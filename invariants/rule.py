"""invariants.toml: the rules, and the exceptions to them, read and checked.

A `must` has a check, which a machine runs on the files of its scope. An `allowed` is a deliberate
exception to a named `must`, with its reason.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree import Tree

FILE = "invariants/invariants.toml"
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHAPES = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "tuple[str, ...]": lambda value: (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    ),
}


class Check(Protocol):
    """What a machine runs; its attributes are the keys of its table."""

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """What is wrong in `files`."""


@dataclass(frozen=True)
class Must:
    """A rule. `absent` has the globs of its scope that match nothing yet."""

    id: str
    area: str
    statement: str
    hint: str
    scope: tuple[str, ...]
    check: Check
    line: int
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allowed:
    """An exception to the rule `of`: what is found in `scope` and says `match` is deliberate."""

    id: str
    area: str
    statement: str
    hint: str
    scope: tuple[str, ...]
    of: str
    line: int
    match: str = ""


@dataclass(frozen=True)
class Rules:
    """The whole of invariants.toml."""

    musts: tuple[Must, ...]
    allowed: tuple[Allowed, ...]

    @property
    def ids(self) -> set[str]:
        """Every entry's id."""
        return {must.id for must in self.musts} | {entry.id for entry in self.allowed}

    def exceptions(self, must: Must) -> tuple[Allowed, ...]:
        """The exceptions to a rule."""
        return tuple(entry for entry in self.allowed if entry.of == must.id)


def read_rules(tree: Tree, kinds: Mapping[str, type]) -> Rules:
    """The rules of a tree.

    Raises:
        UnreadableError: invariants.toml is missing or wrong.
    """
    text = tree.require(FILE)
    try:
        entries = tomllib.loads(text).get("invariant", [])
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else 1
        raise UnreadableError(Finding(FILE, line, f"not TOML: {error}")) from None
    lines = _Lines(text)
    musts: list[Must] = []
    allowed: list[Allowed] = []
    for number, entry in enumerate(entries):
        line = lines.of(number)
        match entry.get("kind"):
            case "must":
                musts.append(_must(dict(entry), line, kinds))
            case "allowed":
                allowed.append(_allowed(dict(entry), line))
            case kind:
                raise _wrong(line, f"kind is must or allowed, not {kind!r}")
    _check_ids(musts, allowed)
    return Rules(tuple(musts), tuple(allowed))


def _check_ids(musts: list[Must], allowed: list[Allowed]) -> None:
    seen = set()
    entries: tuple[Must | Allowed, ...] = (*musts, *allowed)
    for entry in entries:
        if not ID_PATTERN.fullmatch(entry.id) or entry.id in seen:
            raise _wrong(entry.line, f"{entry.id!r} is no id, or another entry has it")
        seen.add(entry.id)
    for exception in allowed:
        if exception.of not in {must.id for must in musts}:
            what = f"{exception.id} is an exception to {exception.of!r}, no must"
            raise _wrong(exception.line, what)


class _Lines:
    """Where the entries are: tomllib doesn't say."""

    def __init__(self, text: str) -> None:
        rows = enumerate(text.splitlines(), 1)
        self._starts = [number for number, row in rows if row.strip() == "[[invariant]]"]

    def of(self, number: int) -> int:
        return self._starts[number] if number < len(self._starts) else 1


def _must(entry: dict[str, Any], line: int, kinds: Mapping[str, type]) -> Must:
    table = entry.pop("check", None)
    table = dict(table) if isinstance(table, dict) else {}
    kind = table.pop("kind", None)
    if kind not in kinds:
        raise _wrong(line, f"there is no check of kind {kind!r}; there are {', '.join(kinds)}")
    check: Check = _build(kinds[kind], table, f"check of kind {kind}", line)
    del entry["kind"]
    must: Must = _build(Must, entry, "must", line, check=check, line=line)
    stray = [glob for glob in must.absent if glob not in must.scope]
    if stray:
        raise _wrong(line, f"absent has {stray[0]!r}, which is not in the scope")
    return must


def _allowed(entry: dict[str, Any], line: int) -> Allowed:
    del entry["kind"]
    made: Allowed = _build(Allowed, entry, "allowed", line, line=line)
    return made


def _build(made: type, table: dict[str, Any], what: str, at: int, **given: object) -> Any:  # noqa: ANN401 - an instance of `made`
    """An instance of a dataclass from a table that has its fields as keys."""
    known = {field.name: field for field in fields(made) if field.name not in given}
    for name, value in table.items():
        if name not in known:
            raise _wrong(at, f"{what} has no key {name!r}; it has {', '.join(known)}")
        if not _SHAPES[str(known[name].type)](value):
            raise _wrong(at, f"{what}: {name} is {known[name].type}, not {value!r}")
    for name, field in known.items():
        if name not in table and field.default is MISSING:
            raise _wrong(at, f"{what} needs the key {name!r}")
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    return made(**values, **given)


def _wrong(line: int, what: str) -> UnreadableError:
    return UnreadableError(Finding(FILE, line, what))
