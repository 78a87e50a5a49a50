"""Which files come to a library that pikaci is installed with, so that its version matters."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]


def needs_a_library(path: Path) -> bool:
    """Whether a file imports one or imports a module that does, in functions and for types too."""
    waiting = [path]
    for file in waiting:
        for name in imported(file):
            if name.partition(".")[0] in libraries():
                return True
            waiting += [found for found in files_of(name) if found not in waiting]
    return False


@cache
def libraries() -> frozenset[str]:
    """The names that the project's dependencies are imported by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (re.split("[<>=!~]", entry)[0] for entry in project["dependencies"])
    return frozenset(name.replace("-", "_") for name in names)


@cache
def imported(file: Path) -> frozenset[str]:
    """What a file imports: `from a import b` may be of the module a, or be the module a.b."""

    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_bytes())):
            match node:
                case ast.Import(names=aliases):
                    yield from (alias.name for alias in aliases)
                case ast.ImportFrom(module=str(module), names=aliases):
                    yield from (module, *(f"{module}.{alias.name}" for alias in aliases))

    return frozenset(names())


@cache
def files_of(name: str) -> tuple[Path, ...]:
    """The file of a module, if it is in this project."""
    places = [ROOT / top / name.replace(".", "/") for top in ("orchestrator", "tests")]
    found = [file for at in places for file in (at.with_suffix(".py"), at / "__init__.py")]
    return tuple(file for file in found if file.is_file())
