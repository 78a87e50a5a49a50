"""The lanes file, and whether a script runs its lanes.

Whether lanes and targets agree, Nix says when it evaluates them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree


@dataclass(frozen=True)
class Lane:
    """A row of the lanes file; `trigger` is branch or nightly."""

    id: str
    trigger: str
    target: str


def read_lanes(tree: Tree, file: str) -> list[Lane]:
    """The lanes of a file.

    Raises:
        UnreadableError: it is missing or not TOML.
    """
    try:
        values = tomllib.loads(tree.require(file))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        wrong = Finding(file, int(line[1]) if line else 1, f"not TOML: {error}")
        raise UnreadableError(wrong) from None
    return [
        Lane(str(row.get("id")), trigger, str(row.get("target")))
        for trigger in ("branch", "nightly")
        for row in values.get(trigger, {}).get("lanes", [])
    ]


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
