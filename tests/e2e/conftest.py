from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, Project, nix_daemon
from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A directory outside git with the `hello` target."""
    project = Project.below(tmp_path)
    project.define(HELLO)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with the `hello` target and one commit."""
    return Project.committed(tmp_path)


@pytest.fixture(params=["own", "daemon"])
def builders(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of a Nix that builds itself or, with root's, by a daemon."""
    if request.param == "own":
        yield {}
        return
    only_root_can("start a Nix daemon")
    with nix_daemon(tmp_path) as variables:
        yield variables
