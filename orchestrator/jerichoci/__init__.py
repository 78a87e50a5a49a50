"""The engine: runs plans and keeps their records.

What is listed here is for reading runs, and for nothing else: a forge needs no more of the engine.
Each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jerichoci.errors import PikaciError, RecordError, UsageError
    from jerichoci.exit_codes import (
        EXIT_CANCELLED,
        EXIT_INFRASTRUCTURE,
        EXIT_PASSED,
        EXIT_TEST_FAILURE,
        EXIT_TIMEOUT,
        EXIT_USAGE,
        exit_code,
    )
    from jerichoci.plan.plan import Plan
    from jerichoci.record.event import Event, parse_event
    from jerichoci.record.record import (
        AttemptRecord,
        Cause,
        JobRecord,
        PhaseRecord,
        PreparedOutputs,
        PrepareTiming,
        RunRecord,
        TestCase,
        TestSummary,
    )
    from jerichoci.record.store import EventChunk, RunStore
    from jerichoci.record.summary import JobSummary, RunSummary
    from jerichoci.state.log_file import LogChunk, LogMetadata
    from jerichoci.status import FailureKind, LogKind, Status

__all__ = [
    "EXIT_CANCELLED",
    "EXIT_INFRASTRUCTURE",
    "EXIT_PASSED",
    "EXIT_TEST_FAILURE",
    "EXIT_TIMEOUT",
    "EXIT_USAGE",
    "AttemptRecord",
    "Cause",
    "Event",
    "EventChunk",
    "FailureKind",
    "JobRecord",
    "JobSummary",
    "LogChunk",
    "LogKind",
    "LogMetadata",
    "PhaseRecord",
    "PikaciError",
    "Plan",
    "PrepareTiming",
    "PreparedOutputs",
    "RecordError",
    "RunRecord",
    "RunStore",
    "RunSummary",
    "Status",
    "TestCase",
    "TestSummary",
    "UsageError",
    "exit_code",
    "parse_event",
]

_MODULES = (
    *("errors", "exit_codes", "status", "state.log_file", "record.store", "record.summary"),
    *("record.event", "record.record", "plan.plan"),
)
"""Where the names are, what is quick to import first."""


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        found = import_module(f"{__name__}.{module}")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
