"""Names that may not occur in code or as names of files, and command lines that have one home."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from texts import read_lanes
from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Findings, Names, Tree

_ATTRIBUTE = re.compile(r"^\s*([a-z0-9][a-z0-9_-]*)\s*=", re.MULTILINE)
_NIX_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_STARTERS = ("create_subprocess_exec", "execvp", "execv", "spawn", "start", "run", "Popen")


def _strings(tree: Tree, file: str) -> Iterator[tuple[str, int]]:
    """The strings of a Python or Nix file; docstrings and comments are none."""
    nodes = tree.nodes(file)
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text, node.lineno
    if file.endswith(".nix"):
        for number, line in tree.lines(file, comments=False):
            for text in _NIX_STRING.findall(line):
                yield text, number


def no_target_ids(tree: Tree, files: Names, *, lanes: str, targets: str) -> Findings:
    """Strings that are the id of a target or a lane, or contain one that has a `-` in it.

    Targets are the attributes that the file `targets` gives values to, one a line.
    """
    ids = set(_ATTRIBUTE.findall(tree.require(targets)))
    ids |= {lane_id for lane_id, _ in read_lanes(tree, lanes)}
    compound = "|".join(re.escape(name) for name in sorted(ids) if "-" in name) or "(?!)"
    inside = re.compile(rf"(?<![\w-])(?:{compound})(?![\w-])")
    for file in files:
        for text, line in _strings(tree, file):
            found = inside.search(text)
            if found or text in ids:
                yield Finding(file, line, f"knows the id {found[0] if found else text!r}")


def file_names(tree: Tree, files: Names, *, forbid: Names) -> Findings:
    """Files and directories whose name, without its ending, is one of `forbid`."""
    for file in sorted({*files} & {*tree.files}):
        wrong = [part for part in file.split("/") if part.partition(".")[0] in forbid]
        if wrong:
            yield Finding(file, 1, f"is called {wrong[0]}")


def argv_home(tree: Tree, files: Names, *, programs: Names, home: str) -> Findings:
    """Command lines of `programs` outside the file `home`.

    A command line is a list or tuple of two or more parts that starts with the program, one that is
    the argument of a call, or the program as the first argument of a call that starts programs.
    """
    for file in files:
        for node in tree.nodes(file) if file != home else ():
            for start in _starts(node):
                program = start.value if isinstance(start, ast.Constant) else None
                if isinstance(program, str) and program.rpartition("/")[2] in programs:
                    yield Finding(file, start.lineno, f"makes a command line of `{program}`")


def _starts(node: ast.AST) -> list[ast.expr]:
    """The first parts of what may be command lines at a node."""
    match node:
        case ast.List(elts=[first, _, *_]) | ast.Tuple(elts=[first, _, *_]):
            return [first]
        case ast.Call(func=function, args=arguments):
            name = getattr(function, "attr", getattr(function, "id", ""))
            lists = [argument.elts for argument in arguments if isinstance(argument, ast.List)]
            alone = [parts[0] for parts in lists if len(parts) == 1]
            return [*(arguments[:1] if name in _STARTERS else []), *alone]
    return []
