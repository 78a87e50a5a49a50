"""Which lanes `pikaci plan --lanes` and `--lane` mean, at a snapshot.

- Branch lanes are those that the change from a base selects, as `pikaci select` has it, by the
  lanes file of the head. Without a base, any file may have changed: they are all.
- Nightly lanes are all of them. Lanes that are named are those, whatever has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import CatalogError, UsageError
from jerichoci.state.dataclass import dataclass
from pikaci.changes import changed_between, changed_since
from pikaci.selection import SelectionReport, select, select_all, select_named

if TYPE_CHECKING:
    from pikaci.lanes import Trigger
    from pikaci.sourcing import Taken


@dataclass(frozen=True)
class LaneChoice:
    """The lanes that a command line asks for: those of a trigger, or the named ones."""

    trigger: Trigger
    names: tuple[str, ...] = ()
    base: str | None = None


async def choose_lanes(taken: Taken, choice: LaneChoice) -> SelectionReport:
    """Select lanes of a snapshot."""
    lanes = await taken.lanes()
    if lanes is None:
        raise CatalogError(f"there is no {taken.tree.lanes_file}", "docs/lanes.md has an example")
    head = taken.rev or taken.snapshot.git_head or taken.snapshot.commit
    base, paths = None, tuple[str, ...]()
    if choice.base is not None:
        base, paths = await _changes(taken, choice.base)
    if choice.names:
        selections = select_named(lanes, choice.names)
    elif choice.base is None:
        selections = select_all(lanes, choice.trigger)
    else:
        selections = select(lanes, paths)
    return SelectionReport(base, head, paths, tuple(selections), lanes.nightly_schedule_utc)


async def _changes(taken: Taken, base: str) -> tuple[str, tuple[str, ...]]:
    """The commit that `base` names, and what changed since the head left it."""
    if taken.rev is None:
        change = await changed_since(taken.tree.root, base)
    elif taken.repository is None:
        hint = "fetch it, and give --source git+file:///PATH?rev=REV"
        raise UsageError("--base is looked up in a repository on this machine", hint)
    else:
        change = await changed_between(taken.repository, base, taken.rev)
    return change.base, change.paths
