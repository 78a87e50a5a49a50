from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, REPOSITORY, Project, nix_daemon
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


@pytest.fixture(scope="session")
def pikaci_flake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Nix needs of this checkout, elsewhere; its nixpkgs can't be had, or must not be."""
    copy = tmp_path_factory.mktemp("pikaci")
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(REPOSITORY / name, copy)
    for name in ("nix", "ci"):
        shutil.copytree(REPOSITORY / name, copy / name)
    return copy


@pytest.fixture
def fresh(bare_project: Project) -> Project:
    """A repository without files."""
    for path in sorted(bare_project.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bare_project.tree.init()
    return bare_project
