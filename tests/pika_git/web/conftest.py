from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pika_git.forge_service.forge import Forge
from served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge_scenes import Scene


@pytest.fixture
def forge(scene: Scene) -> Forge:
    """The scene's forge, whose time continues."""
    return Forge(replace(scene.database, now=None), scene.data)


@pytest.fixture
def served(forge: Forge) -> Iterator[Served]:
    with serving(forge) as found:
        yield found
