from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pika_git.forge_service.forge import Forge
from served import Caller, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge_scenes import Scene
    from served import Served


@pytest.fixture
def shown(scene: Scene) -> Iterator[Served]:
    """The scene's forge, served at the scene's time."""
    with serving(Forge(scene.database, scene.data)) as served:
        yield served


@pytest.fixture
def admin(shown: Served) -> Caller:
    caller = shown.caller("admin", by="session")
    caller.headers["Accept"] = "text/html"
    return caller
