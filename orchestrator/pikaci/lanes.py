"""`ci/forge-lanes.toml`: the lanes, read and checked.

    version = 1
    nightly_schedule_utc = "02:30"

    [[branch.lanes]]                 # or [[nightly.lanes]]
    id = "greeting"
    title = "check-greeting"         # default: the id
    target = "pre-merge-greeting"    # older files say staged_linux_target
    paths = ["src/**", "flake.lock"] # globs from the root of the tree; none: always
    concurrency_group = "linux"      # lanes of a group run one at a time

The first mistake found is a `CatalogError`: one sentence that names the file and, in its keys or by
line and column, the place.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, TypeVar

from jerichoci.errors import CatalogError
from jerichoci.machine.glob import Glob, GlobError, GlobSet, parse_glob
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import is_id
from pikaci.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from pikaci.location import SourceTree

Item = TypeVar("Item")

LANES_VERSION = 1
LARGEST_SHOWN = 10**18
ID_HINT = (
    "ids are lower-case letters, digits, `-` and `_`, at most 64, and start with a letter or digit"
)

_TIME_UTC = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_TOP_KEYS = ("version", "nightly_schedule_utc", "branch", "nightly")
_LANE_KEYS = ("id", "title", "target", "staged_linux_target", "paths", "concurrency_group")


class Trigger(StrEnum):
    """What starts a lane."""

    BRANCH = "branch"
    NIGHTLY = "nightly"


@dataclass(frozen=True)
class Lane:
    """A target as the forge sees it."""

    id: str
    title: str
    target: str
    trigger: Trigger
    paths: tuple[str, ...]
    """The patterns of its path filter; none: it always runs."""
    concurrency_group: str | None
    globs: GlobSet

    def as_dict(self) -> dict[str, object]:
        """Its form in JSON."""
        return {name: value for name, value in vars(self).items() if name != "globs"}


@dataclass(frozen=True)
class Lanes:
    """A lanes file: its lanes in the file's order, branch lanes first."""

    origin: str
    nightly_schedule_utc: str | None
    lanes: tuple[Lane, ...]


def lanes_of(tree: SourceTree) -> Lanes | None:
    """The lanes of a tree; None if it has no lanes file."""
    path = tree.lanes_file
    return load_lanes(path, str(path.relative_to(tree.root))) if path.is_file() else None


def load_lanes(path: Path, origin: str) -> Lanes:
    """Read a lanes file; errors name it as `origin`."""
    try:
        return parse_lanes(path.read_bytes(), origin)
    except OSError as error:
        raise CatalogError(f"{origin}: can't be read: {error.strerror}") from error


def parse_lanes(content: bytes, origin: str) -> Lanes:
    """Read the content of a lanes file; errors name it as `origin`."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CatalogError(f"{origin}:{line}: expected UTF-8, found another encoding") from None
    top = _Table(_parse_toml(text, origin), origin)
    _check_version(top)
    top.check_keys(_TOP_KEYS)
    places = {
        f"{trigger}.lanes[{index}]": lane
        for trigger in Trigger
        for index, lane in enumerate(_group(top, trigger))
    }
    _check_unique_ids(top, places)
    lanes = tuple(places.values())
    return Lanes(origin, _schedule(top, lanes), lanes)


def _parse_toml(text: str, origin: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, place = _syntax_error(str(error), text)
        raise CatalogError(f"{origin}:{place}: {what}") from None
    except RecursionError:
        raise CatalogError(f"{origin}: nests tables too deeply") from None
    except ValueError:
        raise CatalogError(f"{origin}: has a number of thousands of digits") from None


def _syntax_error(message: str, text: str) -> tuple[str, str]:
    """Split tomllib's message into what is wrong and `line:column`."""
    what, _, place = message.rpartition(" (at ")
    if found := re.fullmatch(r"line ([0-9]+), column ([0-9]+)\)", place):
        line, column = found.groups()
    else:
        lines = text.split("\n")
        line, column = str(len(lines)), str(len(lines[-1]) + 1)
    return what[:1].lower() + what[1:], f"{line}:{column}"


@dataclass(frozen=True)
class _Table:
    """A table of the file, and the key path that leads to it."""

    values: dict[str, object]
    origin: str
    where: str = ""

    def path(self, key: str) -> str:
        shown = key if key.isprintable() else repr(key)
        return f"{self.where}.{shown}" if self.where else shown

    def fail(self, key: str, what: str, hint: str | None = None) -> NoReturn:
        raise CatalogError(f"{self.origin}: {self.path(key)}: {what}", hint)

    def expect(self, key: str, expected: str, hint: str | None = None) -> NoReturn:
        found = _described(self.values[key]) if key in self.values else "nothing"
        self.fail(key, f"expected {expected}, found {found}", hint)

    def check_keys(self, known: Collection[str]) -> None:
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known) or f"known here: {', '.join(known)}"
                self.fail(key, "unknown key", hint)

    def table(self, key: str) -> _Table:
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            self.expect(key, "a table")
        return _Table(value, self.origin, self.path(key))

    def tables(self, key: str) -> list[_Table]:
        rows = self._items(key, dict, "a table", f"an array of tables, [[{self.path(key)}]]")
        return [
            _Table(row, self.origin, f"{self.path(key)}[{index}]") for index, row in enumerate(rows)
        ]

    def strings(self, key: str) -> list[str]:
        return self._items(key, str, "a string", "an array of strings")

    def _items(self, key: str, kind: type[Item], one: str, all_: str) -> list[Item]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self.expect(key, all_)
        for index, item in enumerate(value):
            if not isinstance(item, kind):
                self.fail(f"{key}[{index}]", f"expected {one}, found {_described(item)}")
        return value

    def text(self, key: str) -> str | None:
        """The string at `key`: one line, not empty; None if there is no such key."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.expect(key, "one line of text")
        return value

    def id(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not is_id(value):
            self.expect(key, "an id", ID_HINT if isinstance(value, str) else None)
        return value


def _described(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'the string "{value}"' if value.isprintable() else f"the string {value!r}"
        case int() if abs(value) > LARGEST_SHOWN:
            return "a number"
        case int() | float():
            return f"the number {value}"
        case list() | dict():
            return "an array" if isinstance(value, list) else "a table"
        case _:
            return "a date or time"


def _check_version(top: _Table) -> None:
    version = top.values.get("version")
    if version == LANES_VERSION and type(version) is int:
        return
    is_later = type(version) is int and version > LANES_VERSION
    hint = "a later pikaci may read this file" if is_later else None
    top.expect("version", f"the number {LANES_VERSION}", hint)


def _schedule(top: _Table, lanes: Iterable[Lane]) -> str | None:
    key = "nightly_schedule_utc"
    value = top.values.get(key)
    if value is None:
        if any(lane.trigger is Trigger.NIGHTLY for lane in lanes):
            top.expect(key, 'a time "HH:MM", as there are nightly lanes')
        return None
    if not isinstance(value, str) or _TIME_UTC.fullmatch(value) is None:
        top.expect(key, 'a time "HH:MM" from 00:00 to 23:59')
    return value


def _group(top: _Table, trigger: Trigger) -> Iterable[Lane]:
    group = top.table(trigger)
    group.check_keys(("lanes",))
    for table in group.tables("lanes"):
        yield _lane(table, trigger)


def _lane(table: _Table, trigger: Trigger) -> Lane:
    if "command" in table.values:
        table.fail(
            "command",
            "a lane names a target, not a command",
            "make the command a job of a target in the flake, and put the target's id in `target`",
        )
    table.check_keys(_LANE_KEYS)
    lane_id = table.id("id")
    title, target = table.text("title") or lane_id, _target(table)
    globs = GlobSet(tuple(_globs(table)))
    group = table.text("concurrency_group")
    patterns = tuple(glob.pattern for glob in globs.globs)
    return Lane(lane_id, title, target, trigger, patterns, group, globs)


def _target(table: _Table) -> str:
    older = "staged_linux_target"
    if older not in table.values:
        return table.id("target")
    if "target" in table.values:
        table.fail(older, "is another name for `target`, which is also given", "keep `target`")
    return table.id(older)


def _globs(table: _Table) -> Iterable[Glob]:
    for index, pattern in enumerate(table.strings("paths")):
        key = f"paths[{index}]"
        if pattern.startswith(("/", "./", "../")) or not pattern:
            table.fail(
                key,
                f'expected a glob from the root of the tree, found "{pattern}"',
                "write `src/**`, without `/` or `./` before it",
            )
        try:
            yield parse_glob(pattern)
        except GlobError as error:
            table.fail(key, error.message, error.hint)


def _check_unique_ids(top: _Table, places: Mapping[str, Lane]) -> None:
    first_places: dict[str, str] = {}
    for place, lane in places.items():
        first = first_places.setdefault(lane.id, place)
        if first != place:
            top.fail(
                f"{place}.id", f"expected an id of its own, found `{lane.id}`, the id of {first}"
            )
