"""Checkouts as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from invariants.checkout import Checkout, linked_copy, pristine_copy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty(tmp_path: Path) -> Checkout:
    """A checkout with nothing in it."""
    return Checkout(tmp_path)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, not to be changed."""
    return pristine_copy(tmp_path_factory.mktemp("pristine") / "tree")


@pytest.fixture
def own(pristine: Path, tmp_path: Path) -> Checkout:
    """A copy of this checkout to break."""
    return linked_copy(pristine, tmp_path / "tree")
