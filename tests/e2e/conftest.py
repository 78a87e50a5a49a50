from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A directory outside git with the `hello` target."""
    project = Project.below(tmp_path)
    project.define(HELLO)
    return project


@pytest.fixture
def project(bare_project: Project) -> Project:
    """A repository with the `hello` target and one commit."""
    bare_project.tree.init()
    bare_project.tree.commit()
    return bare_project
