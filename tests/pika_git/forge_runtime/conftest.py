from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forge_pushes import Pushes
from pika_git.pikaci_process import Pikaci

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pikaci]:
    """A `pikaci serve` for all tests, which spares its start."""
    with Pikaci(tmp_path_factory.mktemp("warm") / "planner.log") as pikaci:
        yield pikaci


@pytest.fixture
def forge(tmp_path: Path, warm: Pikaci) -> Pushes:
    return Pushes.below(tmp_path, pikaci=warm)
