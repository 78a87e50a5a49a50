"""Where the command lines of a program are made."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

_STARTERS = (
    "create_subprocess_exec",
    "execvp",
    "execv",
    "execvpe",
    "spawn",
    "start",
    "run",
    "Popen",
)


@dataclass(frozen=True)
class ArgvHome:
    """A command line of one of `programs` is written in the file `home` only.

    A command line is a list or tuple of two or more parts that starts with the program, one that is
    the argument of a call, or the program as the first argument of a call that starts programs.
    """

    programs: tuple[str, ...]
    home: str

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Command lines elsewhere."""
        for file in files:
            if file.endswith(".py") and file != self.home:
                for node in ast.walk(tree.module(file)):
                    for start in _starts(node):
                        program = start.value if isinstance(start, ast.Constant) else None
                        if isinstance(program, str) and self._is_meant(program):
                            what = f"makes a command line of `{program}`"
                            yield Finding(file, start.lineno, what)

    def _is_meant(self, program: str) -> bool:
        return program.rpartition("/")[2] in self.programs


def _starts(node: ast.AST) -> list[ast.expr]:
    """The first parts of what may be command lines at a node."""
    match node:
        case ast.List(elts=[first, _, *_]) | ast.Tuple(elts=[first, _, *_]):
            return [first]
        case ast.Call(func=function, args=arguments):
            name = getattr(function, "attr", getattr(function, "id", ""))
            lone = [
                argument.elts[0]
                for argument in arguments
                if isinstance(argument, ast.List) and len(argument.elts) == 1
            ]
            return [*(arguments[:1] if name in _STARTERS else []), *lone]
    return []
