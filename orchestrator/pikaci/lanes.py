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
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from jerichoci.errors import CatalogError
from jerichoci.state.ids import is_id
from pikaci.glob import Glob, GlobError, GlobSet, parse_glob
from pikaci.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

LANES_PATH = "ci/forge-lanes.toml"
LANES_VERSION = 1
LARGEST_SHOWN = 10**18

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
    globs: GlobSet
    concurrency_group: str | None

    @property
    def paths(self) -> tuple[str, ...]:
        """The patterns of its path filter; none: it always runs."""
        return tuple(glob.pattern for glob in self.globs.globs)

    def as_dict(self) -> dict[str, object]:
        """Its form in JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "target": self.target,
            "trigger": self.trigger.value,
            "paths": list(self.paths),
            "concurrency_group": self.concurrency_group,
        }


@dataclass(frozen=True)
class Lanes:
    """A lanes file: its lanes in the file's order, branch lanes first."""

    origin: str
    nightly_schedule_utc: str | None
    lanes: tuple[Lane, ...]

    def of_target(self, target_id: str, trigger: Trigger) -> tuple[Lane, ...]:
        """The lanes that `trigger` starts and that run the target."""
        return tuple(
            lane for lane in self.lanes if lane.target == target_id and lane.trigger is trigger
        )


def load_lanes(path: Path, origin: str | None = None) -> Lanes:
    """Read a lanes file; errors name it as `origin`, else by its path."""
    origin = origin or str(path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise CatalogError(f"{origin}: there is no such file") from None
    except OSError as error:
        raise CatalogError(f"{origin}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CatalogError(f"{origin}:{line}: expected UTF-8, found another encoding") from None
    return parse_lanes(text, origin)


def parse_lanes(text: str, origin: str) -> Lanes:
    """Read the text of a lanes file; errors name it as `origin`."""
    top = _Table(_parse_toml(text, origin), origin)
    _check_version(top)
    top.check_keys(_TOP_KEYS)
    lanes = tuple(lane for trigger in Trigger for lane in _group(top, trigger))
    _check_unique_ids(top, lanes)
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
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self.expect(key, f"an array of tables, [[{self.path(key)}]]")
        return [_element(self, key, index, item) for index, item in enumerate(value)]

    def strings(self, key: str) -> list[str]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self.expect(key, "an array of strings")
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.fail(f"{key}[{index}]", f"expected a string, found {_described(item)}")
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
        if not isinstance(value, str):
            self.expect(key, "an id")
        if not is_id(value):
            self.expect(
                key,
                "an id",
                "ids are lower-case letters, digits, `-` and `_`, at most 64, and start with a"
                " letter or digit",
            )
        return value


def _element(parent: _Table, key: str, index: int, item: object) -> _Table:
    if not isinstance(item, dict):
        parent.fail(f"{key}[{index}]", f"expected a table, found {_described(item)}")
    return _Table(item, parent.origin, f"{parent.path(key)}[{index}]")


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
    return Lane(
        id=lane_id,
        title=table.text("title") or lane_id,
        target=_target(table),
        trigger=trigger,
        globs=GlobSet(tuple(_globs(table))),
        concurrency_group=table.text("concurrency_group"),
    )


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


def _check_unique_ids(top: _Table, lanes: Iterable[Lane]) -> None:
    first_places: dict[str, str] = {}
    counts = dict.fromkeys(Trigger, 0)
    for lane in lanes:
        place = f"{lane.trigger}.lanes[{counts[lane.trigger]}]"
        counts[lane.trigger] += 1
        first = first_places.setdefault(lane.id, place)
        if first != place:
            top.fail(
                f"{place}.id", f"expected an id of its own, found `{lane.id}`, the id of {first}"
            )
