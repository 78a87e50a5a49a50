"""Why a lane waits: one open reason at a time, a history without gaps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


class Reason(StrEnum):
    """Why a lane waits."""

    QUEUED = "queued"
    GROUP = "blocked_by_concurrency_group"
    CAPACITY = "waiting_for_capacity"
    TARGET_UNHEALTHY = "target_unhealthy"
    HOST_UNHEALTHY = "host_unhealthy"
    NO_HOST_FITS = "no_host_fits"
    DRAINING = "draining"
    NOT_BEFORE = "not_before"
    PAUSED = "paused"
    STALE_RECOVERED = "stale_recovered"


@dataclass(frozen=True)
class Waiting:
    """What a lane waits for; `detail` names it. A worker may claim one that is `ready`."""

    code: Reason
    detail: dict[str, Any]
    ready: bool = False


_MARK = text("UPDATE lane SET reason = :code, ready = :ready WHERE id = :lane")
_CLOSE = text("UPDATE reason SET until = :now WHERE lane_id = :lane AND until IS NULL")
_OPEN = text(
    "INSERT INTO reason (lane_id, code, detail, since) VALUES (:lane, :code, :detail, :now)"
)


def set_reasons(connection: Connection, waits: Sequence[tuple[int, Waiting]], now: float) -> None:
    """Let each of these queued lanes wait for this from now on, and no longer for what it did."""
    if not waits:
        return
    values = [
        {
            "lane": lane,
            "code": waiting.code,
            "ready": waiting.ready,
            "detail": json.dumps(waiting.detail, sort_keys=True),
            "now": now,
        }
        for lane, waiting in waits
    ]
    for statement in (_MARK, _CLOSE, _OPEN):
        connection.execute(statement, values)


def stop_waiting(connection: Connection, lane: int, now: float) -> None:
    """End the wait of a lane."""
    connection.execute(_CLOSE, {"lane": lane, "now": now})
    connection.execute(_MARK, {"lane": lane, "code": None, "ready": False})
