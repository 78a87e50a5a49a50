from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker_forge import Forge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    """A forge with targets to queue; its workers are ended."""
    forge = Forge.below(tmp_path)
    with forge.ending_all():
        yield forge
