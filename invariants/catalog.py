"""Whether lanes and targets agree, as read from their files or as Nix told them."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nixtext import Token, UnknownShapeError, attributes, tokens
from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

TRIGGERS = ("branch", "nightly")
_UNREAD = "Nix of a shape that is not read here ({}); give Nix's own answer with --catalog"


@dataclass(frozen=True)
class Target:
    """A target of the catalog and where it is written."""

    id: str
    trigger: str
    file: str
    line: int


@dataclass(frozen=True)
class Lane:
    """A row of the lanes file."""

    id: str
    trigger: str
    values: dict[str, Any]
    line: int

    @property
    def target(self) -> str | None:
        """The target it runs; older files say staged_linux_target."""
        return self.values.get("target") or self.values.get("staged_linux_target")


def read_lanes(tree: Tree, file: str) -> list[Lane]:
    """The lanes of a file.

    Raises:
        UnreadableError: it isn't there or isn't TOML.
    """
    text = tree.require(file)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        wrong = Finding(file, int(line[1]) if line else 1, f"not TOML: {error}")
        raise UnreadableError(wrong) from None
    lanes = []
    for trigger in TRIGGERS:
        heads = re.finditer(rf"^\s*\[\[\s*{trigger}\.lanes\s*\]\]", text, re.MULTILINE)
        lines = [text.count("\n", 0, head.end()) + 1 for head in heads]
        for number, row in enumerate(values.get(trigger, {}).get("lanes", [])):
            line_number = lines[number] if number < len(lines) else 1
            lanes.append(Lane(str(row.get("id", number)), trigger, row, line_number))
    return lanes


def read_targets(tree: Tree, file: str) -> list[Target]:
    """The targets that a Nix file names, each there or in a file that it imports.

    Raises:
        UnreadableError: a file isn't there, or is of a shape that is not read here.
    """
    return [_target(tree, file, name, value) for name, value in _attributes(tree, file).items()]


def _target(tree: Tree, file: str, name: str, value: list[Token]) -> Target:
    line = value[0].line if value else 1
    match [token.text for token in value[:2]]:
        case ["import", path] if value[1].kind == "path" and "//" not in _texts(value):
            home = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
            home = home if home.endswith(".nix") else f"{home}/default.nix"
            return Target(name, _trigger(home, _attributes(tree, home, applied=True)), home, 1)
        case _:
            try:
                return Target(name, _trigger(file, attributes(value, applied=True)), file, line)
            except UnknownShapeError as error:
                raise _unread(file, error) from None


def _texts(value: list[Token]) -> set[str]:
    return {token.text for token in value if token.kind == "mark"}


def _attributes(tree: Tree, file: str, *, applied: bool = False) -> dict[str, list[Token]]:
    try:
        return attributes(tokens(tree.require(file)), applied=applied)
    except UnknownShapeError as error:
        raise _unread(file, error) from None


def _trigger(file: str, found: dict[str, list[Token]]) -> str:
    match found.get("trigger"):
        case None:
            return "manual"
        case [Token(kind="string", literal=True) as token]:
            return token.text
        case other:
            raise _unread(file, UnknownShapeError(other[0].line, "a trigger that is computed"))


def _unread(file: str, error: UnknownShapeError) -> UnreadableError:
    return UnreadableError(Finding(file, error.line, _UNREAD.format(error)))


def told_targets(tree: Tree, home: str) -> list[Target]:
    """The targets in Nix's own answers (each a catalog in JSON), as if written in `home`."""
    found = {}
    for answer in tree.catalogs:
        for target in json.loads(answer.read_text())["targets"]:
            found[target["id"]] = Target(target["id"], target["trigger"], home, 1)
    return list(found.values())


def targets_of(tree: Tree, file: str) -> list[Target]:
    """The targets as Nix told them, or else as the files have them.

    Raises:
        UnreadableError: as `read_targets`.
    """
    return told_targets(tree, file) if tree.catalogs else read_targets(tree, file)


@dataclass(frozen=True)
class LanesAndTargets:
    """Each lane has a target of its trigger and no command; each triggered target has a lane."""

    lanes: str
    targets: str

    def find(self, tree: Tree, _files: tuple[str, ...]) -> Iterator[Finding]:
        """Where the two disagree."""
        lanes = read_lanes(tree, self.lanes)
        targets = {target.id: target for target in targets_of(tree, self.targets)}
        for lane in lanes:
            what = self._wrong(lane, targets)
            if what:
                yield Finding(self.lanes, lane.line, f"lane {lane.id} {what}")
        for target in targets.values():
            served = {lane.trigger for lane in lanes if lane.target == target.id}
            if target.trigger in TRIGGERS and target.trigger not in served:
                what = f"target {target.id} is for {target.trigger} lanes and has none"
                yield Finding(target.file, target.line, what)
            elif target.trigger not in (*TRIGGERS, "manual"):
                what = f"target {target.id} has the trigger {target.trigger!r}"
                yield Finding(target.file, target.line, what)

    @staticmethod
    def _wrong(lane: Lane, targets: dict[str, Target]) -> str:
        if "command" in lane.values:
            return "has a bare command"
        if not lane.target:
            return "has no target"
        if lane.target not in targets:
            return f"names the target {lane.target}, which isn't there"
        trigger = targets[lane.target].trigger
        wrong = trigger != lane.trigger
        return f"names {lane.target}, whose trigger is {trigger}" if wrong else ""


@dataclass(frozen=True)
class LaneRunner:
    """A script runs every branch lane: it names each target in `lanes=(..)`, or asks pikaci."""

    lanes: str

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Lanes that a script leaves out."""
        for file in files:
            text = tree.require(file)
            if re.search(r"^[^#\n]*\bpikaci lanes\b", text, re.MULTILINE):
                continue
            table = re.search(r"^[ \t]*lanes=\(([^)]*)\)", text, re.MULTILINE)
            line = text.count("\n", 0, table.start()) + 1 if table else 1
            named = set(table[1].split()) if table else set()
            for lane in read_lanes(tree, self.lanes):
                if lane.trigger == "branch" and lane.target not in named:
                    yield Finding(file, line, f"does not run {lane.target} of lane {lane.id}")
