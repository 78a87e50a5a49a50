from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, Project
from jerichoci.system import own_system
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A directory outside git with the `hello` target."""
    for name in ("repo", "home"):
        (tmp_path / name).mkdir()
    project = Project(
        tree=UserTree(tmp_path / "repo"),
        state=tmp_path / "state",
        token=secrets.token_hex(8),
        system=own_system(),
        environment=IDENTITY | {"HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"},
    )
    project.define(HELLO)
    return project


@pytest.fixture
def project(bare_project: Project) -> Project:
    """A repository with the `hello` target and one commit."""
    bare_project.tree.init()
    bare_project.tree.commit()
    return bare_project
