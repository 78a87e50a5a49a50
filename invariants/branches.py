"""Decisions by the text of a name, and choices that follow from one.

Both checks read Python's syntax tree. The *subject* of an expression is the name of its last part:
`job_id`, `job.job_id` and `row["job_id"]` all have the subject `job_id`. A dotted one, as in
`job.id`, is compared with the last two parts.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Findings, Names, Tree

_TESTS = ("startswith", "endswith")
_MATCHERS = ("match", "search", "fullmatch", "fnmatch", "fnmatchcase")


def _subject(node: ast.AST) -> str:
    """The name of an expression with what it is part of: `job.id`; empty if it has no name."""
    match node:
        case ast.Name(id=name):
            return name
        case (
            ast.Attribute(value=of, attr=name)
            | ast.Subscript(value=of, slice=ast.Constant(value=str(name)))
            | ast.Call(
                func=ast.Attribute(value=of, attr="get"), args=[ast.Constant(value=str(name)), *_]
            )
        ):
            return f"{_subject(of).rpartition('.')[2]}.{name}".lstrip(".")
    return ""


def _is_one(node: ast.AST, names: Names) -> bool:
    whole = _subject(node)
    return bool(whole) and (whole in names or whole.rpartition(".")[2] in names)


def _is_literal(node: ast.AST) -> bool:
    """Whether a node is a string, or a collection of nothing but strings."""
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return bool(items) and all(map(_is_literal, items))
    return False


def no_branch_on_name(tree: Tree, files: Names, *, subjects: Names) -> Findings:
    """Decisions by the text of what is called one of `subjects`.

    That is: `.startswith` or `.endswith` of one, a regular expression or fnmatch over one, a
    comparison or `in` of one with literal strings, a `match` of one against literal strings, a
    look-up of one in a literal dict.
    """
    for file in files:
        for node in tree.nodes(file):
            for found in _compared(node):
                if _is_one(found, subjects):
                    line = getattr(node, "lineno", found.lineno)
                    yield Finding(file, line, f"decides by the text of {_subject(found)}")


def _compared(node: ast.AST) -> list[ast.expr]:
    """What a node compares with text."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _TESTS:
            return [of]
        case ast.Call(func=called) if _subject(called).rpartition(".")[2] in _MATCHERS:
            return node.args
        case ast.Compare(left=left, comparators=others):
            sides = [left, *others]
            return sides if any(map(_is_literal, sides)) else []
        case ast.Match(subject=of, cases=cases):
            patterns = [part for case in cases for part in ast.walk(case.pattern)]
            values = [part.value for part in patterns if isinstance(part, ast.MatchValue)]
            return [of] if any(map(_is_literal, values)) else []
        case (
            ast.Subscript(value=ast.Dict(), slice=key)
            | ast.Call(func=ast.Attribute(value=ast.Dict(), attr="get"), args=[key, *_])
        ):
            return [key]
    return []


def no_choice_from(tree: Tree, files: Names, *, chosen: Names, never_from: Names) -> Findings:
    """Choices of what is called `chosen` that follow from what is called `never_from`.

    A choice is a value given to such a name (assignment, keyword, key of a dict, result of a
    function called `<chosen>` or `.._<chosen>`) unless the value is itself called so. It follows
    from the value's own conditions and look-ups, and from each `if` and `match` around it.
    """

    def walk(node: ast.AST, tests: list[ast.AST], function: str) -> Iterator[tuple[int, str]]:
        for name, value in _given(node, function):
            is_copy = not isinstance(value, ast.Constant) and _is_one(value, chosen)
            meant = [kind for kind in chosen if f"_{name}".endswith(f"_{kind}")]
            if meant and not is_copy:
                parts = [part for test in [*tests, *_conditions(value)] for part in ast.walk(test)]
                named = [part for part in parts if not _is_one(part, meant)]
                causes = [_subject(part) for part in named if _is_one(part, never_from)]
                what = [f"chooses {meant[0]} by {cause}" for cause in causes]
                yield from ((value.lineno, found) for found in what[:1])
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                tests, function = [], name
            case ast.If(test=test) | ast.Match(subject=test):
                tests = [*tests, test]
        for child in ast.iter_child_nodes(node):
            yield from walk(child, tests, function)

    for file in files:
        for module in tree.nodes(file)[:1]:
            for line, what in walk(module, [], ""):
                yield Finding(file, line, what)


def _given(node: ast.AST, function: str) -> Iterator[tuple[str, ast.expr]]:
    """The names that a node gives values to; a function's result has the function's name."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((_subject(target).rpartition(".")[2], value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield _subject(target).rpartition(".")[2], value
        case ast.NamedExpr(target=target, value=value):
            yield _subject(target), value
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        case ast.Return(value=ast.expr() as value) if function:
            yield function, value


def _conditions(value: ast.expr) -> Iterator[ast.AST]:
    """What decides within a value: tests, `or` and `and`, and the keys of look-ups."""
    for node in ast.walk(value):
        match node:
            case ast.IfExp(test=found):
                yield found
            case ast.BoolOp() | ast.Compare():
                yield node
            case (
                ast.Subscript(value=ast.Dict() | ast.Name(), slice=found)
                | ast.Call(func=ast.Attribute(attr="get"), args=[found, *_])
            ):
                yield found
