"""What all queued lanes depend on, read once in a transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines.reason import Reason, Waiting

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_PAUSED = text("""
    SELECT CASE WHEN json_valid(value) THEN json_extract(value, '$') ELSE 1 END FROM setting
    WHERE name = 'paused'
""")
_PAUSED_REPOS = text("SELECT id FROM repo WHERE paused")
_WORKERS = text("""
    SELECT id, name, host, labels, slots, state,
        (SELECT count(*) FROM lease WHERE lease.worker_id = worker.id) AS busy, trouble
    FROM worker WHERE state != 'gone' ORDER BY name
""")
_CLOSED = text("""
    SELECT id, kind, coalesce(repo_id, 0) AS repo_id, name, state, probe_lane_id, closed_until, why
    FROM health WHERE state != 'open'
""")
_LABEL_SETS = text("SELECT id, labels FROM label_set")
STATES = frozenset({"active", "draining"})
"""Of a worker that is there."""
UNREADABLE = frozenset({"labels that can be read"})


@dataclass(frozen=True)
class Worker:
    """A worker that is there."""

    id: int
    name: str
    host: str
    labels: frozenset[str]
    slots: int
    state: str
    busy: int
    trouble: str | None

    @property
    def has_room(self) -> bool:
        """Whether it would take another lane."""
        return self.state == "active" and self.busy < self.slots and not self.trouble


@dataclass
class Closed:
    """A target or host that failed: closed for a while, then on trial with one lane, the probe."""

    id: int
    on_trial: bool
    probe: int | None
    why: str | None


@dataclass
class Facts:
    """The state of the forge as far as lanes wait for it."""

    now: float
    paused: str | int | None  # why
    paused_repos: frozenset[int]
    workers: tuple[Worker, ...]
    hosts: dict[str, Closed]
    targets: dict[tuple[int, str], Closed]
    label_sets: dict[int, frozenset[str]]
    _fits: dict[int, Waiting] = field(default_factory=dict)

    def fits(self, label_set: int) -> Waiting:
        """What a lane that asks for these labels waits for if nothing else keeps it."""
        if label_set not in self._fits:
            self._fits[label_set] = self._fit(self.label_sets.get(label_set, UNREADABLE))
        return self._fits[label_set]

    def _fit(self, labels: frozenset[str]) -> Waiting:
        fitting = [worker for worker in self.workers if labels <= worker.labels]
        if not fitting:
            lacks = [sorted(labels - worker.labels) for worker in self.workers]
            missing = min(lacks, key=len, default=["a worker"])
            return Waiting(Reason.NO_HOST_FITS, {"missing": missing})
        active = [worker for worker in fitting if worker.state == "active"]
        if not active:
            names = [worker.name for worker in fitting]
            return Waiting(Reason.DRAINING, {"workers": names})
        hosts = {worker.host for worker in active}
        if not [host for host in hosts if host not in self.hosts or self.hosts[host].on_trial]:
            return Waiting(Reason.HOST_UNHEALTHY, {"hosts": sorted(hosts)})
        if any(worker.has_room for worker in active):
            return Waiting(Reason.QUEUED, {}, ready=True)
        return capacity(active)


def capacity(workers: list[Worker]) -> Waiting:
    """A lane waits for a slot of one of these."""
    troubles = {each.name: each.trouble for each in workers if each.trouble}
    detail = {"workers": [each.name for each in workers]}
    return Waiting(
        Reason.CAPACITY, detail | ({"troubles": troubles} if troubles else {}), ready=True
    )


def load(connection: Connection, now: float) -> Facts:
    """The facts at this moment."""
    hosts, targets = {}, {}
    for row in connection.execute(_CLOSED):
        closed = Closed(row.id, row.state == "trial", row.probe_lane_id, row.why)
        if row.kind == "host":
            hosts[row.name] = closed
        else:
            targets[row.repo_id, row.name] = closed
    return Facts(
        now,
        paused=connection.execute(_PAUSED).scalar_one_or_none() or None,
        paused_repos=frozenset(connection.execute(_PAUSED_REPOS).scalars()),
        workers=tuple(_worker(row) for row in connection.execute(_WORKERS)),
        hosts=hosts,
        targets=targets,
        label_sets={row[0]: parse_labels(row[1]) for row in connection.execute(_LABEL_SETS)},
    )


def _worker(row: Row[Any]) -> Worker:
    """A worker as its row has it; one that is damaged has no slots."""
    labels = parse_labels(row.labels)
    is_whole = isinstance(row.slots, int) and labels != UNREADABLE and row.state in STATES
    trouble = None if row.trouble is None else str(row.trouble)
    slots = row.slots if is_whole else 0
    return Worker(row.id, str(row.name), str(row.host), labels, slots, row.state, row.busy, trouble)


def parse_labels(written: str) -> frozenset[str]:
    """Labels as a row has them; a row that is damaged asks for what no worker has."""
    try:
        values = json.loads(written)
    except (ValueError, TypeError):
        return UNREADABLE
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return UNREADABLE
    return frozenset(values)
