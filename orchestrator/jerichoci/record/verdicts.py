"""The verdicts of runs by what they were of: a plan, files, jobs and variables.

A line of a file in the state root's `verdicts/` is a run and its verdict. Only what jobs decided is
one: no machine's fault, no cancel, and no verdict that was taken from another run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from jerichoci.state.answers import key_of
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import unwritable
from jerichoci.status import FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from jerichoci.record.record import RunRecord
    from jerichoci.state.layout import StateLayout


class Verdict(StrEnum):
    """What jobs said; `flaky` if they passed when they were tried again."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"


JOBS_OWN = frozenset({FailureKind.TEST_FAILURE, FailureKind.TIMEOUT})


@dataclass(frozen=True)
class Judged:
    """A run and its verdict."""

    run_id: str
    verdict: Verdict


def note(state: StateLayout, record: RunRecord, only: Collection[str] | None) -> None:
    """Note the verdict of a run that is over, if it has one of its own; `only` some jobs ran."""
    verdict = _verdict_of(record)
    if verdict is None or record.reused_run is not None:
        return
    try:
        state.verdicts.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(_file(state, record, only), flags, 0o600)
        try:
            os.write(fd, f"{record.run_id} {verdict}\n".encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise unwritable("the run's verdict can't be noted", error) from error


def verdicts_of(
    state: StateLayout, record: RunRecord, only: Collection[str] | None
) -> list[Judged]:
    """The verdicts of runs of the same as one that begins, the earliest first."""
    found = []
    with suppress(OSError):
        for run_id, verdict in _lines(_file(state, record, only)):
            with suppress(ValueError):
                found.append(Judged(run_id, Verdict(verdict)))
    return found


def forget_verdicts(state: StateLayout) -> None:
    """Remove what is known of runs of which none is left."""
    with suppress(FileNotFoundError):
        for file in state.verdicts.iterdir():
            if not any((state.runs / run_id).is_dir() for run_id, _ in _lines(file)):
                file.unlink(missing_ok=True)


def _lines(file: Path) -> list[tuple[str, str]]:
    words = (line.split() for line in file.read_text("ascii", "replace").splitlines())
    return [(each[0], each[1]) for each in words if len(each) == 2]  # noqa: PLR2004 - two words


def _file(state: StateLayout, record: RunRecord, only: Collection[str] | None) -> Path:
    wanted = None if only is None else sorted(only)
    passed = {job.id: job.pass_env for job in record.jobs if job.pass_env}
    return state.verdicts / key_of(record.plan_digest, record.snapshot_id, wanted, passed)


def _verdict_of(record: RunRecord) -> Verdict | None:
    if record.status is Status.PASSED:
        tried = (attempt for job in record.jobs for attempt in job.attempts)
        is_flaky = any(attempt.failure_kind in JOBS_OWN for attempt in tried)
        return Verdict.FLAKY if is_flaky else Verdict.PASSED
    if record.status is Status.FAILED and record.failure_kind in JOBS_OWN:
        return Verdict.FAILED
    return None
