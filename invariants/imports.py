"""What a module imports, however it says so, and the checks of it.

Seen are `import a.b`, `from a import b` (which may be the module a.b or a name in a), relative
ones, and `import_module` or `__import__` of a literal, or of an f-string that starts with one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree

_IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """A dotted name that a line imports. `deferred`: not when its module is imported."""

    name: str
    line: int
    deferred: bool = False
    type_checking: bool = False
    names: tuple[str, ...] = ()
    """In `from name import names`, each as name.names."""

    @property
    def full(self) -> tuple[str, ...]:
        """Each thing imported, by its whole name."""
        return self.names or (self.name,)


def is_within(name: str, package: str) -> bool:
    """Whether a dotted name is `package` or something in it."""
    return name == package or name.startswith(f"{package}.")


def module_name(file: str, source_root: str) -> str:
    """The dotted name of a file below `source_root`."""
    inside = file.removeprefix(f"{source_root}/") if source_root else file
    return inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_of(module: ast.Module, name: str, *, is_package: bool) -> Iterator[Import]:
    """What the module called `name` imports."""
    package = name if is_package else name.rpartition(".")[0]
    yield from _walk(module, package, deferred=False, type_checking=False)


def _walk(node: ast.AST, package: str, *, deferred: bool, type_checking: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=aliases):
            for alias in aliases:
                yield Import(alias.name, node.lineno, deferred, type_checking)
        case ast.ImportFrom(names=aliases):
            base = _absolute(node, package)
            whole = tuple(f"{base}.{alias.name}".lstrip(".") for alias in aliases)
            yield Import(base, node.lineno, deferred, type_checking, whole)
        case ast.Call() if (called := _called(node, package)) is not None:
            yield Import(called, node.lineno, deferred, type_checking)
        case ast.If(test=test) if "TYPE_CHECKING" in ast.unparse(test):
            for part in node.body:
                yield from _walk(part, package, deferred=deferred, type_checking=True)
            for part in node.orelse:
                yield from _walk(part, package, deferred=deferred, type_checking=type_checking)
            return
    inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, package, deferred=inside, type_checking=type_checking)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _called(node: ast.Call, package: str) -> str | None:
    """What a call of an importer imports; an f-string counts by the text it starts with."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in _IMPORTERS or not node.args:
        return None
    match node.args[0]:
        case ast.Constant(value=str(text)):
            pass
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
            text = start.rpartition(".")[0]
        case _:
            return None
    if not text.startswith("."):
        return text
    given = [keyword.value for keyword in node.keywords if keyword.arg == "package"]
    anchor = [*node.args[1:2], *given]
    if anchor and isinstance(anchor[0], ast.Constant):
        package = str(anchor[0].value)
    return f"{package}.{text.lstrip('.')}"


@dataclass(frozen=True)
class ImportDirection:
    """Files of the scope import nothing of `forbid`, and of `within` only what `only` has."""

    forbid: tuple[str, ...] = ()
    within: str = ""
    only: tuple[str, ...] = ()
    source_root: str = "orchestrator"
    type_checking: bool = True

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Imports that go the wrong way."""
        for file in files:
            if not file.endswith(".py"):
                continue
            name = module_name(file, self.source_root)
            package = file.endswith("/__init__.py")
            for found in imports_of(tree.module(file), name, is_package=package):
                if found.type_checking and not self.type_checking:
                    continue
                wrong = [whole for whole in found.full if self._is_wrong(whole)]
                if wrong:
                    yield Finding(file, found.line, f"imports {wrong[0]}")

    def _is_wrong(self, name: str) -> bool:
        if any(is_within(name, package) for package in self.forbid):
            return True
        return bool(self.within) and (
            is_within(name, self.within) and not any(is_within(name, good) for good in self.only)
        )


@dataclass(frozen=True)
class ImportTime:
    """Importing `modules`, and what a call of those in `called` imports, brings no `forbid` along.

    Followed are the project's own modules below `source_root`, by what they import when they are
    imported themselves.
    """

    modules: tuple[str, ...]
    forbid: tuple[str, ...]
    called: tuple[str, ...] = ()
    source_root: str = "orchestrator"

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Imports that cost too much, each once, with the way that leads there."""
        homes = {module_name(file, self.source_root): file for file in files}
        seen: set[str] = set()
        waiting: list[tuple[str, tuple[str, ...]]] = [
            (name, (name,)) for name in (*self.modules, *self.called)
        ]
        for name, _ in waiting:
            if name not in homes:
                first = f"{self.source_root}/{name.replace('.', '/')}.py"
                yield Finding(first, 1, f"there is no module {name} to start from")
        while waiting:
            name, way = waiting.pop(0)
            if name in seen or name not in homes:
                continue
            seen.add(name)
            file = homes[name]
            package = file.endswith("/__init__.py")
            for found in imports_of(tree.module(file), name, is_package=package):
                if found.type_checking or (found.deferred and name not in self.called):
                    continue
                heavy = [bad for bad in self.forbid if is_within(found.name, bad)]
                if heavy:
                    yield Finding(file, found.line, f"imports {heavy[0]} ({' > '.join(way)})")
                waiting += [(reached, (*way, reached)) for reached in _reached(found)]


def _reached(found: Import) -> Iterator[str]:
    """The modules that an import runs: the packages around it too."""
    for whole in (found.name, *found.names):
        parts = whole.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
