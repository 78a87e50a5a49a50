"""What the queue should do, worked out from its rows without its indexes, flags and turns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_database import Forge

ACTIVE = {"running", "cancelling"}
AGE_BOUND_SECS = 3600.0


@dataclass
class Oracle:
    """One look at all rows."""

    forge: Forge

    def __post_init__(self) -> None:
        forge = self.forge
        self.now = forge.now
        self.lanes = forge.all(
            "SELECT lane.*, lane.class AS klass, label_set.labels, repo.paused FROM lane"
            " JOIN label_set ON label_set.id = lane.label_set_id"
            " JOIN repo ON repo.id = lane.repo_id ORDER BY lane.enqueued_at, lane.id"
        )
        self.queued = [lane for lane in self.lanes if lane.state == "queued"]
        self.workers = forge.all(
            "SELECT worker.*, (SELECT count(*) FROM lease WHERE worker_id = worker.id) AS busy"
            " FROM worker WHERE state != 'gone'"
        )
        self.health = {
            (row.repo_id, row.name): row
            for row in forge.all("SELECT * FROM health WHERE state != 'open'")
        }
        self.is_paused = bool(
            forge.all("SELECT 1 FROM setting WHERE name = 'paused' AND value != 'false'")
        )
        self.states = {lane.id: lane.state for lane in self.lanes}
        served = (
            "SELECT ref, max(attempt.id) FROM attempt JOIN lane ON lane.id = lane_id GROUP BY 1"
        )
        self.served = {row[0]: row[1] for row in forge.all(served)}

    def next_for(self, worker_id: int) -> int | None:
        """The lane that this worker has to get."""
        worker = next((each for each in self.workers if each.id == worker_id), None)
        if worker is None or worker.state != "active" or worker.busy >= worker.slots:
            return None
        host = self.health.get((None, worker.host))
        if host is not None and (self._is_closed(host) or self._has_probe(host)):
            return None
        has = set(json.loads(worker.labels))
        mine = [
            lane
            for lane in self.queued
            if set(json.loads(lane.labels)) <= has and self.is_claimable(lane)
        ]
        old = [lane for lane in mine if lane.enqueued_at < self.now - AGE_BOUND_SECS]
        if old:
            return int(min(old, key=lambda lane: (lane.enqueued_at, lane.id)).id)
        found = min(mine, key=self._order, default=None)
        return None if found is None else int(found.id)

    def is_claimable(self, lane: Any) -> bool:  # noqa: ANN401
        """Whether a worker that fits may have it."""
        if not self.is_in_line(lane):
            return False
        if lane.group_name is None:
            return True
        group = [
            other
            for other in self.lanes
            if (other.repo_id, other.group_name) == (lane.repo_id, lane.group_name)
        ]
        if any(other.state in ACTIVE for other in group):
            return False
        line = [other for other in group if other.state == "queued" and self.is_in_line(other)]
        return bool(line[0].id == lane.id)

    def is_in_line(self, lane: Any) -> bool:  # noqa: ANN401
        """Whether it waits for nothing but its group and a slot."""
        if not self._stands(lane):
            return False
        target = self.health.get((lane.repo_id, lane.target))
        if target is None:
            return True
        return not self._is_closed(target) and self._probe(target) == lane.id

    def _stands(self, lane: Any) -> bool:  # noqa: ANN401
        if self.is_paused or lane.paused:
            return False
        if lane.not_before is not None and lane.not_before > self.now:
            return False
        asked = set(json.loads(lane.labels))
        fitting = [worker for worker in self.workers if asked <= set(json.loads(worker.labels))]
        return any(
            worker.state == "active" and not self._is_closed(self.health.get((None, worker.host)))
            for worker in fitting
        )

    def _is_closed(self, row: Any) -> bool:  # noqa: ANN401
        return row is not None and row.state == "closed" and row.closed_until > self.now

    def _has_probe(self, row: Any) -> bool:  # noqa: ANN401
        return row.state == "trial" and row.probe_lane_id is not None

    def _probe(self, row: Any) -> int | None:  # noqa: ANN401
        by_id = {lane.id: lane for lane in self.lanes}
        probe = by_id.get(row.probe_lane_id) if row.state == "trial" else None
        if probe is not None and (
            probe.state in ACTIVE or (probe.state == "queued" and self._stands(probe))
        ):
            return int(probe.id)
        of_target = [
            lane for lane in self.queued if (lane.repo_id, lane.target) == (row.repo_id, row.name)
        ]
        return next((int(lane.id) for lane in of_target if self._stands(lane)), None)

    def _order(self, lane: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return (lane.klass, self.served.get(lane.ref, 0), lane.enqueued_at, lane.id)
