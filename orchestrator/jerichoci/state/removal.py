"""Taking away the directories of runs that have no owner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.state.layout import REMOVED_SUFFIX
from jerichoci.state.owner import holding_names, is_owned
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.state.layout import StateLayout


def take_away(state: StateLayout, run_dir: Path) -> Path | None:
    """Take a run directory, half-made or whole, its name; where it is now.

    None if it is owned or gone. Its new name says that it isn't needed.
    """
    away = run_dir.with_name(f"{run_dir.name}.{os.urandom(4).hex()}{REMOVED_SUFFIX}")
    with holding_names(state) as held:
        if not held or is_owned(run_dir):
            return None
        try:
            run_dir.rename(away)
        except FileNotFoundError:
            return None
    return away


def remove_unowned(state: StateLayout, run_dir: Path) -> bool:
    """Remove a run directory, half-made or whole; False if it is owned or gone."""
    away = take_away(state, run_dir)
    if away is None:
        return False
    remove_tree(away)
    return True
