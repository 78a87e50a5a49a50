"""Fragments of the changelog, as towncrier reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nix.evaluation import ROOT
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def branch(tmp_path: Path) -> UserTree:
    """A branch that adds this checkout's fragments, and one more."""
    tree = UserTree(tmp_path / "project").init()
    shutil.copy(ROOT / "pyproject.toml", tree.root)
    shutil.copy(ROOT / "CHANGELOG.md", tree.root)
    tree.commit()
    tree.git("switch", "--quiet", "--create", "branch")
    shutil.copytree(ROOT / "changelog.d", tree.root / "changelog.d")
    tree.write("changelog.d/+one-more.fixed.md", "Now this works.\n")
    tree.commit()
    return tree


def check(tree: UserTree) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "towncrier", "check", "--compare-with", "main"]
    return subprocess.run(argv, cwd=tree.root, capture_output=True, text=True, check=False)


def test_fragments_are_valid(branch: UserTree) -> None:
    done = check(branch)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["+new.feature.md", "notes.md"])
def test_a_fragment_of_no_known_kind_is_invalid(branch: UserTree, name: str) -> None:
    branch.write(f"changelog.d/{name}", "Something.\n")
    branch.commit()
    done = check(branch)
    assert done.returncode != 0
    assert name in done.stdout + done.stderr
