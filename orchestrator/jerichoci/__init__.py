"""The engine: runs plans and keeps their records.

It knows nothing of any project's targets, of the command line or of the forge. What is listed here
is its public face; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jerichoci.errors import (
        CancelledRunError,
        CatalogError,
        InfrastructureError,
        PikaciError,
        RecordError,
        UsageError,
    )
    from jerichoci.plan.plan import Plan, parse_plan, plan_digest
    from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord
    from jerichoci.record.request import RunRequest, Source
    from jerichoci.record.store import RunStore
    from jerichoci.run.engine import run_plan
    from jerichoci.status import FailureKind, KeepPolicy, LogKind, Status

_HOMES = {
    "run.engine": ("run_plan",),
    "errors": (
        "CancelledRunError",
        "CatalogError",
        "InfrastructureError",
        "PikaciError",
        "RecordError",
        "UsageError",
    ),
    "plan.plan": ("Plan", "parse_plan", "plan_digest"),
    "record.record": ("JobRecord", "PreparedOutputs", "RunRecord"),
    "record.request": ("RunRequest", "Source"),
    "status": ("FailureKind", "KeepPolicy", "LogKind", "Status"),
    "record.store": ("RunStore",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CancelledRunError",
    "CatalogError",
    "FailureKind",
    "InfrastructureError",
    "JobRecord",
    "KeepPolicy",
    "LogKind",
    "PikaciError",
    "Plan",
    "PreparedOutputs",
    "RecordError",
    "RunRecord",
    "RunRequest",
    "RunStore",
    "Source",
    "Status",
    "UsageError",
    "parse_plan",
    "plan_digest",
    "run_plan",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
