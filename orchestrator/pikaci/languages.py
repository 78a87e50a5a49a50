"""In which language a project is, by its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LANGUAGES = ("python", "node", "go", "rust", "c")

_MANIFESTS: Mapping[str, Sequence[str]] = {
    "python": ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"),
    "node": ("package.json",),
    "go": ("go.mod",),
    "rust": ("Cargo.toml",),
    "c": ("CMakeLists.txt",),
}
_SUFFIXES = {"python": ".py", "c": ".c"}
"""Of sources, in languages whose smallest projects have no manifest."""


def languages_of(directory: Path) -> list[str]:
    """The languages that a directory has manifests of; if it has none, sources of."""
    manifests = [
        language
        for language, names in _MANIFESTS.items()
        if any((directory / name).is_file() for name in names)
    ]
    if manifests:
        return manifests
    found = {path.suffix for place in (directory, directory / "src") for path in place.glob("*")}
    return [language for language, suffix in _SUFFIXES.items() if suffix in found]


def check_of(directory: Path, language: str) -> str:
    """The name of the check that suits the build system of a project."""
    if language == "c":
        if (directory / "CMakeLists.txt").is_file():
            return "c-cmake"
        if any((directory / name).is_file() for name in ("Makefile", "GNUmakefile", "makefile")):
            return "c-make"
    return language
