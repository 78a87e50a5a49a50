"""Lines that must, or may not, be in a file, and values that belong in one file only."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from tree import Findings, Names, Tree

_GLOB = re.compile(r"^(?!refs/)(?:(?:.*/)?\*\*(?:/|$)|(?:.*/)?\*\.\w+$|[^:]*/\*$)")
"""A pattern of git's refs is none."""


def lines(tree: Tree, files: Names, *, require: Names = (), forbid: Names = ()) -> Findings:
    """Patterns of `require` that no line of a file has, and lines with one of `forbid`.

    `#` comments don't count.
    """
    for file in files:
        text = list(tree.lines(file, comments=False))
        for pattern in require:
            if not any(re.search(pattern, line) for _, line in text):
                yield Finding(file, 1, f"no line is like {pattern!r}")
        for number, line in text:
            if any(re.search(pattern, line) for pattern in forbid):
                yield Finding(file, number, f"has {line.strip()!r}")


def single_source(tree: Tree, files: Names, *, pattern: str, file: str) -> Findings:
    """Lines like `pattern` outside `file`; or that it has none."""
    if not re.search(pattern, tree.require(file), re.MULTILINE):
        yield Finding(file, 1, f"no line is like {pattern!r}")
    for other in files:
        for number, line in tree.lines(other):
            if other != file and re.search(pattern, line):
                yield Finding(other, number, f"has what belongs in {file}")


def read_lanes(tree: Tree, file: str) -> list[tuple[str, str]]:
    """The lanes of a file: id, and the target of a branch lane."""
    values = tree.toml(file)
    branch, nightly = (values.get(kind, {}).get("lanes", []) for kind in ("branch", "nightly"))
    rows = [(str(row.get("id")), str(row.get("target"))) for row in branch]
    return rows + [(str(row.get("id")), "") for row in nightly]


def lane_runner(tree: Tree, files: Names, *, lanes: str) -> Findings:
    """Branch lanes whose target a script doesn't name in its `lanes=(..)`."""
    for file in files:
        text = tree.require(file)
        table = re.search(r"^[ \t]*lanes=\(([^)]*)\)", text, re.MULTILINE)
        line = text.count("\n", 0, table.start()) + 1 if table else 1
        named = table[1].split() if table else []
        for lane, target in read_lanes(tree, lanes):
            if target and target not in named:
                yield Finding(file, line, f"does not run {target} of lane {lane}")


def no_glob_tables(tree: Tree, files: Names, *, except_attributes: Names = ()) -> Findings:
    """Collections of path globs: a list, tuple, set or dict of Python; a list of Nix.

    A Nix list is judged by the attribute it is given to; those of `except_attributes` pass.
    """
    for file in files:
        for node in tree.nodes(file):
            items = [*getattr(node, "elts", []), *getattr(node, "keys", [])]
            for item in (*items, *(node.values if isinstance(node, ast.Dict) else ())):
                text = item.value if isinstance(item, ast.Constant) else None
                if isinstance(text, str) and _GLOB.search(text):
                    yield Finding(file, item.lineno, f"lists the glob {text!r}")
        if file.endswith(".nix"):
            text = tree.require(file)
            for found in re.finditer(r"(\w+)\s*=\s*\[([^\]]*)\]", text):
                globs = [glob for glob in re.findall(r'"([^"]*)"', found[2]) if _GLOB.search(glob)]
                if globs and found[1] not in except_attributes:
                    line = text.count("\n", 0, text.index(f'"{globs[0]}"', found.start())) + 1
                    yield Finding(file, line, f"lists the glob {globs[0]!r}")
