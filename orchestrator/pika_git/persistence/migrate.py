"""Bringing a database to the schema of this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pika_git.persistence.database import open_database
from pika_git.persistence.schema import METADATA

if TYPE_CHECKING:
    from pathlib import Path


def migrate(path: Path) -> None:
    """Make or change the tables of the database at `path`."""
    METADATA.create_all(open_database(path).engine)
