"""One forge: what those who ask it something are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pika_git.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database


@dataclass(frozen=True)
class Forge:
    """The database, the files and the settings of a forge."""

    database: Database
    data: DataDir
    settings: Settings = field(default_factory=Settings)
    problems: Callable[[], list[str]] = list
    """What keeps the service from its work, in sentences."""
