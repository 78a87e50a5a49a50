"""Which targets a change of the working tree selects, while they are run again and again.

A target that was run is selected by what changed since, as the path filters of its branch lanes
have it; one without branch lanes by any change. One that was not run yet, or whose run was
cancelled, is selected as without `--watch`.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.snapshot.repository import open_repository
from jerichoci.state.dataclass import dataclass
from pikaci.changes import changed_since
from pikaci.lanes import Trigger
from pikaci.selection import target_filter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pikaci.lanes import Lanes
    from pikaci.sourcing import Taken
    from pikaci.wanted import Wanted


@dataclass
class Selecting:
    """What was run at which snapshot, and what is to be run at another."""

    wanted: Wanted
    state_root: Path
    ran: dict[str, str] = field(default_factory=dict)
    """The tree that a target was last run on, to the end of that run."""

    @property
    def _base(self) -> str | None:
        """What says what changed for targets that were not run."""
        return self.wanted.base or self.wanted.changed_since

    async def targets(self, taken: Taken) -> list[str]:
        """The targets to run at a snapshot, in their order."""
        lanes = await taken.lanes()
        found = []
        for name, is_selected in (await self._wanted(taken, lanes)).items():
            before, after = self.ran.get(name), taken.snapshot.tree
            if is_selected if before is None else await self.selects(name, before, after, lanes):
                found.append(name)
        return found

    async def selects(self, target: str, before: str, after: str, lanes: Lanes | None) -> bool:
        """Whether what changed between two snapshots selects a target."""
        if before == after:
            return False
        names = await self.changed(before, after)
        return names is None or lanes is None or target_filter(lanes, target, names)[0]

    async def changed(self, before: str, after: str) -> list[str] | None:
        """The names that differ between two snapshots; None if one of them is gone."""
        git = (await open_repository(self.state_root)).git
        try:
            return await git.names(
                "diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after
            )
        except InfrastructureError:
            return None

    async def _wanted(self, taken: Taken, lanes: Lanes | None) -> dict[str, bool]:
        """What is wanted, and whether it is selected where it was not run yet."""
        if self.wanted.lanes:
            return await self._of_lanes(taken)
        targets: Sequence[str] = self.wanted.targets
        if self.wanted.all_targets:
            catalog = await taken.evaluator.catalog()
            targets = [row["id"] for row in catalog.values["targets"]]
        if self._base is None or lanes is None or all(name in self.ran for name in targets):
            return dict.fromkeys(targets, True)
        change = await changed_since(taken.tree.root, self._base)
        return {name: target_filter(lanes, name, change.paths)[0] for name in targets}

    async def _of_lanes(self, taken: Taken) -> dict[str, bool]:
        from pikaci.lane_choice import LaneChoice, choose_lanes

        report = await choose_lanes(taken, LaneChoice(Trigger.BRANCH, (), self._base))
        found: dict[str, bool] = {}
        for row in report.selections:
            if row.lane.trigger is Trigger.BRANCH:
                found[row.lane.target] = found.get(row.lane.target, False) or row.selected
        return found
