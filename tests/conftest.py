from __future__ import annotations

import asyncio
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from disk import mounted
from jerichoci.machine.signals import catching_ignored
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from libraries import needs_a_library
from runner import Runner
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The same examples each time; `pytest --hypothesis-profile=default` searches for others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    say = "collect only files of tests that a library which pikaci is installed with can matter to"
    parser.addoption("--of-libraries", action="store_true", help=say)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--of-libraries") or collection_path.suffix != ".py":
        return None
    return not needs_a_library(collection_path) or None


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """What these tests start ignores no signal, however they themselves were started."""
    with catching_ignored():
        yield


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    """A state root of the test's own."""
    layout = StateLayout(tmp_path / "state")
    layout.make()
    return layout


@pytest.fixture
def marker() -> str:
    """A word that no other process has in its command line."""
    return f"marker-{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """An engine with a snapshot of a small tree, of which each test has a copy."""
    directory = tmp_path_factory.mktemp("small")
    user = UserTree(directory / "user")
    user.write("README", "hello\n")
    user.write("src/main", "#!/bin/sh\necho from main\n", mode=0o755)
    layout = StateLayout(directory / "state")
    layout.make()
    tree = asyncio.run(take_snapshot(layout.root, user.root)).tree
    (layout.root / "owner-id").unlink()
    return Runner(layout, tree)


@pytest.fixture
def runner(layout: StateLayout, small_tree: Runner) -> Runner:
    """An engine with a snapshot of a small tree."""
    # With the owners that its files have.
    subprocess.run(["cp", "-a", f"{small_tree.state.root}/.", str(layout.root)], check=True)
    return Runner(layout, small_tree.tree)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 2 MiB."""
    with mounted(tmp_path / "disk", "2m") as directory:
        yield directory
