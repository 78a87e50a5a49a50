"""The fields of record models, read from their classes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Findings, Names, Tree

LIKENESS = 0.6
"""A class that has this part of a record's fields is a second copy of it."""
MINIMUM_FIELDS = 5
"""Records with fewer fields have names that any class may have."""


def _classes(tree: Tree, files: Names) -> Iterator[tuple[str, ast.ClassDef, dict[str, int]]]:
    """The classes of files, with the lines of their annotated attributes."""
    for file in files:
        for node in tree.nodes(file):
            if isinstance(node, ast.ClassDef):
                fields = {
                    part.target.id: part.lineno
                    for part in node.body
                    if isinstance(part, ast.AnnAssign)
                    and isinstance(part.target, ast.Name)
                    and "ClassVar" not in ast.unparse(part.annotation)
                }
                yield file, node, fields


def key_set(
    tree: Tree,
    files: Names,
    *,
    name: str,
    exactly: Names = (),
    never: Names = (),
) -> Findings:
    """Fields of the class `name` (`*`: all) that are not in `exactly`, or match one of `never`."""
    meant = [found for found in _classes(tree, files) if name in {"*", found[1].name}]
    if not meant and files:
        yield Finding(files[0], 1, f"there is no class {name} here")
    for file, node, fields in meant:
        for field, line in fields.items():
            stray = exactly and field not in exactly
            if stray or any(re.search(pattern, field) for pattern in never):
                yield Finding(file, line, f"{node.name} has the field {field}")
        for field in set(exactly) - set(fields):
            yield Finding(file, node.lineno, f"{node.name} lacks the field {field}")


def no_second_copy(tree: Tree, files: Names, *, records: Names) -> Findings:
    """Classes with the name of a record in the files `records`, or with most of its fields."""
    originals = list(_classes(tree, tree.matching(records)))
    for file, node, fields in _classes(tree, files):
        for home, record, names in originals:
            shared = len(fields.keys() & names.keys())
            alike = len(names) >= MINIMUM_FIELDS and shared >= LIKENESS * len(names)
            if alike or node.name == record.name:
                yield Finding(file, node.lineno, f"{node.name} repeats {record.name} of {home}")
                break
