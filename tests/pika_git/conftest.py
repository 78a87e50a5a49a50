from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forge_scenes import Scene
from pika_git.data import DataDir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(DataDir(tmp_path / "forge"), now=1796083200.0)
    yield made
    made.close()
