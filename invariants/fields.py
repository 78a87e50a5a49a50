"""The fields of record models, read from their classes."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

LIKENESS = 0.6
"""From this part of a record's fields on, a class with the same names is a second copy of it."""
MINIMUM_FIELDS = 5
"""Records smaller than this have fields that anything has."""


@dataclass(frozen=True)
class Fields:
    """A class and the lines of its annotated attributes."""

    name: str
    file: str
    line: int
    lines: dict[str, int]


def classes_of(tree: Tree, file: str) -> list[Fields]:
    """The classes of a Python file: pydantic models, dataclasses and TypedDicts alike."""
    return [
        Fields(node.name, file, node.lineno, _fields(node))
        for node in ast.walk(tree.module(file))
        if isinstance(node, ast.ClassDef)
    ]


def _fields(node: ast.ClassDef) -> dict[str, int]:
    return {
        statement.target.id: statement.lineno
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and "ClassVar" not in ast.unparse(statement.annotation)
    }


@dataclass(frozen=True)
class KeySet:
    """A class has the fields `exactly`, or none that `never` matches; `*` is every class."""

    name: str
    exactly: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Fields too many or too few."""
        classes = [found for file in files for found in classes_of(tree, file)]
        meant = [found for found in classes if self.name in {"*", found.name}]
        if not meant and files:
            yield Finding(files[0], 1, f"there is no class {self.name} here")
        for found in meant:
            for name, line in found.lines.items():
                if self.exactly and name not in self.exactly:
                    yield Finding(found.file, line, f"{found.name} has the field {name}")
                if any(re.search(pattern, name) for pattern in self.never):
                    yield Finding(found.file, line, f"{found.name} has the field {name}")
            for name in self.exactly:
                if name not in found.lines:
                    yield Finding(found.file, found.line, f"{found.name} lacks the field {name}")


@dataclass(frozen=True)
class NoSecondCopy:
    """No class of the scope has the name of a record of `records`, or most of its fields."""

    records: tuple[str, ...]

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Classes that say a record again."""
        records = [
            found for file in tree.matching(self.records) for found in classes_of(tree, file)
        ]
        for file in files:
            if file.endswith(".py"):
                for found in classes_of(tree, file):
                    for record in records:
                        if _is_like(found, record):
                            what = f"{found.name} says {record.name} of {record.file} again"
                            yield Finding(file, found.line, what)
                            break


def _is_like(found: Fields, record: Fields) -> bool:
    if found.name == record.name:
        return True
    shared = found.lines.keys() & record.lines.keys()
    return len(record.lines) >= MINIMUM_FIELDS and len(shared) >= LIKENESS * len(record.lines)
