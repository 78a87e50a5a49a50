"""What a Python project and its tests import, by the names that nixpkgs has for packages."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_TEST_GROUPS = ("test", "tests")


def python_packages(directory: Path) -> list[str]:
    """Those that pyproject.toml names for every environment, also for its tests.

    A requirement with a condition (`; python_version < "3.12"`) is left out.
    """
    path = directory / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UsageError(f"pyproject.toml can't be read: {error}") from None
    found = [_NAME.match(text) for text in _requirements(table) if ";" not in text]
    names = [re.sub(r"[._-]+", "-", match[1]).lower() for match in found if match]
    return sorted(name if name[0].isalpha() else f'"{name}"' for name in set(names))


def _requirements(table: dict[str, Any]) -> Iterator[str]:
    """Texts of a well-formed table; what is not as it should be is left out."""
    project = table.get("project")
    project = project if isinstance(project, dict) else {}
    lists = [project.get("dependencies")]
    for groups in (project.get("optional-dependencies"), table.get("dependency-groups")):
        if isinstance(groups, dict):
            lists += [groups.get(name) for name in _TEST_GROUPS]
    for requirements in lists:
        if isinstance(requirements, list):
            yield from (text for text in requirements if isinstance(text, str))
