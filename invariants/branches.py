"""Decisions that code takes by looking at the text of a name, and choices that follow from one.

Both look at Python's syntax tree only. The *subject* of an expression is what its last part is
called: `job_id`, `job.job_id` and `row["job_id"]` all have the subject `job_id`; a dotted one, as
in `job.id`, is compared with the last two parts.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

_TESTS = ("startswith", "endswith")
_MATCHERS = ("match", "search", "fullmatch", "fnmatch", "fnmatchcase")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def subject(node: ast.AST) -> str:
    """What an expression is called, with what it is part of: `job.id`; nothing if no name."""
    match node:
        case ast.Name(id=name):
            return name
        case (
            ast.Attribute(value=of, attr=name)
            | ast.Subscript(value=of, slice=ast.Constant(value=str(name)))
        ):
            return f"{subject(of).rpartition('.')[2]}.{name}".lstrip(".")
        case ast.Call(
            func=ast.Attribute(value=of, attr="get"), args=[ast.Constant(value=str(name)), *_]
        ):
            return f"{subject(of).rpartition('.')[2]}.{name}".lstrip(".")
    return ""


def is_one(node: ast.AST, names: tuple[str, ...]) -> bool:
    """Whether an expression's subject is one of `names`."""
    whole = subject(node)
    return bool(whole) and (whole in names or whole.rpartition(".")[2] in names)


def is_literal(node: ast.AST) -> bool:
    """Whether a node is a string, or a collection of nothing but strings."""
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return bool(items) and all(is_literal(item) for item in items)
        case ast.Call(args=[only]) if subject(node.func) in {"frozenset", "set", "tuple"}:
            return is_literal(only)
    return False


@dataclass(frozen=True)
class NoBranchOnName:
    """Nothing is decided by the text of `subjects`.

    That is: `.startswith` or `.endswith` of one, a regular expression or fnmatch over one, a
    comparison or `in` of one with literal strings, a `match` of one against literal strings, a
    look-up of one in a literal dict.
    """

    subjects: tuple[str, ...]

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Where something is."""
        for file in files:
            if file.endswith(".py"):
                for node in ast.walk(tree.module(file)):
                    decided = self._decided(node)
                    if decided is not None:
                        what = f"decides by the text of {subject(decided)}"
                        yield Finding(file, getattr(node, "lineno", decided.lineno), what)

    def _decided(self, node: ast.AST) -> ast.expr | None:
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _TESTS:
                looked_at = [of]
            case ast.Call(func=function, args=arguments) if (
                subject(function).rpartition(".")[2] in _MATCHERS
            ):
                looked_at = list(arguments)
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
                looked_at = sides if any(is_literal(side) for side in sides) else []
            case ast.Match(subject=of, cases=cases):
                looked_at = [of] if any(map(_has_literal, cases)) else []
            case ast.Subscript(value=ast.Dict(), slice=key):
                looked_at = [key]
            case ast.Call(func=ast.Attribute(value=ast.Dict(), attr="get"), args=[key, *_]):
                looked_at = [key]
            case _:
                return None
        return next((found for found in looked_at if is_one(found, self.subjects)), None)


def _has_literal(case: ast.match_case) -> bool:
    patterns = [node for node in ast.walk(case.pattern) if isinstance(node, ast.MatchValue)]
    return any(is_literal(pattern.value) for pattern in patterns)


@dataclass(frozen=True)
class NoChoiceFrom:
    """What is called `chosen` does not follow from anything called `never_from`.

    A choice is a value given to such a name (assignment, keyword, key of a dict, result of a
    function called `<chosen>` or `.._<chosen>`) that isn't just handed on. It follows from what is
    mentioned in the value's own conditions and look-ups, and in each `if` and `match` around it.
    """

    chosen: str
    never_from: tuple[str, ...]

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Choices that follow from what they may not."""
        for file in files:
            if file.endswith(".py"):
                for line, cause in self._walk(tree.module(file), (), None):
                    yield Finding(file, line, f"chooses {self.chosen} by {cause}")

    def _walk(
        self, node: ast.AST, tests: tuple[ast.AST, ...], function: str | None
    ) -> Iterator[tuple[int, str]]:
        for name, value in _given(node, function):
            if self._is_chosen(name) and not self._is_handed_on(value):
                cause = self._cause((*tests, *_conditions(value)))
                if cause:
                    yield value.lineno, cause
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                tests, function = (), node.name
            case ast.If(test=test):
                tests = (*tests, test)
            case ast.Match(subject=of):
                tests = (*tests, of)
        for child in ast.iter_child_nodes(node):
            yield from self._walk(child, tests, function)

    def _is_chosen(self, name: str) -> bool:
        return name == self.chosen or name.endswith(f"_{self.chosen}")

    def _is_handed_on(self, value: ast.expr) -> bool:
        return not isinstance(value, ast.Constant) and is_one(value, (self.chosen,))

    def _cause(self, tests: tuple[ast.AST, ...]) -> str | None:
        for test in tests:
            for part in ast.walk(test):
                if is_one(part, self.never_from):
                    return subject(part)
        return None


def _given(node: ast.AST, function: str | None) -> Iterator[tuple[str, ast.expr]]:
    """The names that a node gives values to; a function's result goes by the function's name."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield subject(target).rpartition(".")[2], value
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield subject(target).rpartition(".")[2], value
        case ast.NamedExpr(target=target, value=value):
            yield subject(target), value
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        case ast.Return(value=ast.expr() as value) if function:
            yield function, value


def _conditions(value: ast.expr) -> list[ast.AST]:
    """What decides within a value: tests, `or` and `and`, look-ups and what they look up."""
    found: list[ast.AST] = []
    for node in ast.walk(value):
        match node:
            case ast.IfExp(test=test):
                found.append(test)
            case ast.BoolOp() | ast.Compare():
                found.append(node)
            case ast.Subscript(value=ast.Dict() | ast.Name(), slice=key):
                found.append(key)
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
                found.append(key)
    return found
