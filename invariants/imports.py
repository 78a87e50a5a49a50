"""What Python modules import, and the rules about it.

Seen are `import a.b`, `from a import b` (a module or a name in a), relative ones, and
`import_module` or `__import__` of a literal, or of an f-string that starts with one.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Findings, Names, Tree

SOURCE_ROOT = "orchestrator/"


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _modules(files: Names) -> dict[str, str]:
    """The Python files by their module names."""
    names = [(file.removeprefix(SOURCE_ROOT).removesuffix(".py"), file) for file in files]
    modules = {name.replace("/", "."): file for name, file in names if file.endswith(".py")}
    return {name.removesuffix(".__init__"): file for name, file in modules.items()}


def _imports(tree: Tree, module: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that import, each with what it imports: `from a import b, c` has a.b and a.c."""
    package = module if file.endswith("/__init__.py") else module.rpartition(".")[0]
    for node in tree.nodes(file):
        match node:
            case ast.Import(names=aliases):
                yield node.lineno, [alias.name for alias in aliases]
            case ast.ImportFrom(names=aliases):
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield node.lineno, [f"{base}.{alias.name}".lstrip(".") for alias in aliases]
            case ast.Call() if called := _called(node, package):
                yield node.lineno, [called]


def _called(node: ast.Call, package: str) -> str:
    """What a call of an importer imports; an f-string counts by the text it starts with."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    match node.args if name in {"import_module", "__import__"} else []:
        case [ast.Constant(value=str(text)), *_]:
            return f"{package}.{text.lstrip('.')}" if text.startswith(".") else text
        case [ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]), *_]:
            return start.rpartition(".")[0]
    return ""


def import_direction(tree: Tree, files: Names, *, forbid: Names) -> Findings:
    """Imports of anything in the modules and packages `forbid`."""
    for module, file in _modules(files).items():
        for line, imported in _imports(tree, module, file):
            wrong = [name for name in imported if any(_is_within(name, bad) for bad in forbid)]
            if wrong:
                yield Finding(file, line, f"imports {wrong[0]}")


def arrows(tree: Tree, files: Names, *, layers: Names) -> Findings:
    """Imports of a layer above one's own, and modules that import each other in a circle.

    `layers` are packages, from the top down. Imports inside functions and for types count, too.
    """
    modules = _modules(files)

    def depth(module: str) -> int:
        around = [name for name in layers if _is_within(module, name)]
        return layers.index(max(around, key=len)) if around else -1

    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, file in modules.items():
        for line, imported in _imports(tree, module, file):
            for name in imported:
                target = name if name in modules else name.rpartition(".")[0]
                if target in modules and target != module:
                    graph[module].add(target)
                    if depth(target) < depth(module):
                        yield Finding(file, line, f"imports {target}, which is in a layer above")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        yield Finding(modules[circle[0]], 1, f"is in a circle: {' > '.join(circle)}")
