from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pika_git.data import DataDir
from pika_git.forge_service.forge import Forge
from pika_git.persistence.migrate import open_current
from served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    data = DataDir(tmp_path / "data").make()
    database = open_current(data)
    yield Forge(database, data)
    database.engine.dispose()


@pytest.fixture
def served(forge: Forge) -> Iterator[Served]:
    with serving(forge) as found:
        yield found
