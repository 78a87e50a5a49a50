"""Names that may not occur: in the code of a scope, or as names of its files."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lanes import read_lanes
from nixtext import NixSyntaxError, tokens
from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

_ATTRIBUTE = re.compile(r"^\s*([a-z0-9][a-z0-9_-]*)\s*=", re.MULTILINE)


@dataclass(frozen=True)
class Word:
    """An identifier or a string of a source file."""

    text: str
    line: int
    is_string: bool


def words_of(tree: Tree, file: str) -> Iterator[Word]:
    """The identifiers and strings of a Python or Nix file; docstrings and comments are neither.

    Raises:
        UnreadableError: it can't be parsed.
    """
    if file.endswith(".py"):
        yield from _python_words(tree.module(file))
    elif file.endswith(".nix"):
        try:
            for token in tokens(tree.require(file)):
                if token.kind != "mark":
                    yield Word(token.text, token.line, token.kind == "string")
        except NixSyntaxError as error:
            raise UnreadableError(Finding(file, error.line, str(error))) from None


def _python_words(module: ast.Module) -> Iterator[Word]:
    docstrings = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        line = getattr(node, "lineno", 1)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield Word(text, line, is_string=True)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield Word(name, line, is_string=False)
            case ast.keyword(arg=str(name)):
                yield Word(name, getattr(node.value, "lineno", line), is_string=False)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Word(name, line, is_string=False)
            case ast.ClassDef(name=name):
                yield Word(name, line, is_string=False)


@dataclass(frozen=True)
class ForbiddenNames:
    """No identifier is one of `identifiers`; no string has one of the patterns `strings`."""

    identifiers: tuple[str, ...] = ()
    strings: tuple[str, ...] = ()

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Where a forbidden name is."""
        identifiers = [re.compile(pattern) for pattern in self.identifiers]
        strings = [re.compile(pattern) for pattern in self.strings]
        for file in files:
            for word in words_of(tree, file):
                if word.is_string:
                    bad = any(pattern.search(word.text) for pattern in strings)
                else:
                    bad = any(pattern.fullmatch(word.text) for pattern in identifiers)
                if bad:
                    yield Finding(file, word.line, f"has {word.text!r}")


@dataclass(frozen=True)
class NoTargetIds:
    """No string is the id of a target or a lane, or contains one that has a `-` in it.

    Targets are the attributes that the file `targets` gives values to, one a line.
    """

    lanes: str
    targets: str

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Strings that name targets."""
        ids = set(_ATTRIBUTE.findall(tree.require(self.targets)))
        ids |= {lane.id for lane in read_lanes(tree, self.lanes)}
        compound = "|".join(re.escape(name) for name in sorted(ids) if "-" in name) or "(?!)"
        inside = re.compile(rf"(?<![\w-])(?:{compound})(?![\w-])")
        for file in files:
            for word in words_of(tree, file):
                found = inside.search(word.text)
                if word.is_string and (found or word.text in ids):
                    name = found[0] if found else word.text
                    yield Finding(file, word.line, f"knows the id {name!r}")


@dataclass(frozen=True)
class FileNames:
    """No file or directory of the scope is called, its ending aside, what `forbid` has."""

    forbid: tuple[str, ...]

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:  # noqa: ARG002 - the protocol's
        """Files with names that say nothing."""
        for file in files:
            for part in file.split("/"):
                if part.partition(".")[0] in self.forbid:
                    yield Finding(file, 1, f"is called {part}")
                    break
