"""Whether something is said in one place only: a pattern, a table of globs."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nixtext import NixSyntaxError, closing, tokens
from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

_GLOB = re.compile(r"(?:^|/)\*\*(?:/|$)|(?:^|/)\*\.\w+$|^[^:]*/\*$")


@dataclass(frozen=True)
class SingleSource:
    """Lines that `pattern` is found in are in `file` only, and there is one there."""

    pattern: str
    file: str

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Lines elsewhere, or none at home."""
        pattern = re.compile(self.pattern)
        if not any(map(pattern.search, tree.require(self.file).splitlines())):
            yield Finding(self.file, 1, f"nothing here is like {self.pattern!r}")
        for file in files:
            if file != self.file:
                for number, line in enumerate((tree.text(file) or "").splitlines(), 1):
                    if pattern.search(line):
                        yield Finding(file, number, f"has what belongs in {self.file}")


@dataclass(frozen=True)
class NoGlobTables:
    """No collection has path globs: a Python list, tuple, set or dict; a Nix list.

    Nix lists are judged by the attribute they are given to, and those of `except_attributes` pass.
    """

    except_attributes: tuple[str, ...] = ()

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Collections that have one."""
        for file in files:
            if file.endswith(".py"):
                yield from _python_tables(tree, file)
            elif file.endswith(".nix"):
                yield from self._nix_lists(tree, file)

    def _nix_lists(self, tree: Tree, file: str) -> Iterator[Finding]:
        try:
            found = tokens(tree.require(file))
            at = 0
            while at < len(found):
                if found[at].kind == "mark" and found[at].text == "[":
                    end = closing(found, at)
                    name = found[at - 2].text if at > 1 and found[at - 1].text == "=" else ""
                    globs = [
                        token
                        for token in found[at:end]
                        if token.kind == "string" and _GLOB.search(token.text)
                    ]
                    if globs and name not in self.except_attributes:
                        yield Finding(file, globs[0].line, f"lists the glob {globs[0].text!r}")
                    at = end
                at += 1
        except NixSyntaxError as error:
            raise UnreadableError(Finding(file, error.line, str(error))) from None


def _python_tables(tree: Tree, file: str) -> Iterator[Finding]:
    for node in ast.walk(tree.module(file)):
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                pass
            case ast.Dict(keys=keys, values=values):
                items = [item for item in (*keys, *values) if item is not None]
            case _:
                continue
        for item in items:
            text = item.value if isinstance(item, ast.Constant) else None
            if isinstance(text, str) and _GLOB.search(text):
                yield Finding(file, item.lineno, f"lists the glob {text!r}")
                break
