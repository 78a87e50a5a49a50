"""The directory of a run while it is written: owner lock, reserve, records, journal.

A run directory gets its name when its lock is held and its first records are in it. From then on
whatever happens ends in a terminal run.json: `finish` frees the reserve first, so that a full disk
has room for it. Until then run.json stays as it was: what changes is a job's status.json.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.record import order
from jerichoci.record.event import EventBase, RunFinished, RunStarted
from jerichoci.record.journal import Journal, Sink
from jerichoci.record.record import Cause, JobRecord, PreparedOutput, PreparedOutputs, RunRecord
from jerichoci.state import atomic
from jerichoci.state.layout import (
    UNBORN_SUFFIX,
    RunLayout,
    StateLayout,
    make_private,
    unwritable,
)
from jerichoci.state.owner import holding_names, owning, remove_unowned
from jerichoci.state.remove_tree import remove_tree
from jerichoci.status import CauseCode, FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.plan.model import Model
    from jerichoci.plan.plan import Plan

RESERVE_BYTES = 64 * 1024
"""The least that is kept for the terminal run.json, status.json and event of a run."""
ATTEMPT_BYTES = 4 * 1024
"""One attempt in a record: its phases, a cause with a long message."""
MOST_RETRIES = 32
"""More are allowed, but no room is reserved for them."""
TIMING_BYTES = 512
"""One prepare node in a record."""
BLOCK_BYTES = 4 * 1024
"""What the smallest file takes."""
TERMINAL_WRITES = 3
"""A job's record is in the last event, in its status.json and in run.json."""
COPIES = 2
"""The last attempt is what is loose on a job, too."""


class RunWriter:
    """The only writer of a run's records."""

    def __init__(self, layout: RunLayout, record: RunRecord, journal: Journal) -> None:
        self.layout = layout
        self._record = record
        self._jobs = {job.id: job for job in record.jobs}
        self._journal = journal
        self._written: dict[str, JobRecord] = {}
        """Each job as its status.json has it."""

    @property
    def record(self) -> RunRecord:
        """The run's record as it is now."""
        return self._record.with_(jobs=[*self._jobs.values()])

    def emit(self, event: EventBase) -> None:
        self._journal.emit(event)

    def check(self) -> None:
        """See that the run's directory is still there."""
        self._journal.check()

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - fields of the record
        """Change the run's record, which is written when the run is over."""
        self._record = self._record.with_(**changes)

    def job(self, job_id: str) -> JobRecord:
        return self._jobs[job_id]

    def update_job(self, job: JobRecord) -> None:
        """Put a running job's record in place of its former one, and write its status.json.

        A power failure may take that file: it ends the job, too.
        """
        self._write_status(job, durable=False)
        self._jobs[job.id] = job

    async def end_job(self, job: JobRecord) -> None:
        """The same for a job that is over; others are not held up by the disk."""
        await asyncio.to_thread(self._write_status, job)
        self._jobs[job.id] = job

    def make_room(self, part: Model) -> bool:
        """Reserve room for a part of an attempt's record; false if the disk has none."""
        size = len(part.as_json(indent=1))
        try:
            with self.layout.reserve.open("ab", buffering=0) as reserve:
                missing = TERMINAL_WRITES * COPIES * size
                return reserve.write(bytes(missing)) == missing
        except OSError:
            return False

    def write_outputs(self, outputs: Sequence[PreparedOutput]) -> None:
        record = PreparedOutputs(run_id=self.record.run_id, outputs=list(outputs))
        _write(self.layout.prepared_outputs, record)

    def finish(self, record: RunRecord) -> None:
        """Write the terminal record: event, status.json files, run.json; then send it to the sinks.

        Of a run whose directory was removed, only the sinks get it.
        """
        try:
            self.check()
        except InfrastructureError as error:
            self._finish_removed(record, error)
            return
        self.layout.free_reserve()
        self._put(record)
        event = self._journal.append(RunFinished(run=record))
        # run.json is the last to say that the run is over, but the first to have its room.
        whole = self.layout.record.with_name(f"{self.layout.record.name}{atomic.TEMP_MARK}end")
        _write(whole, record)
        for job in record.jobs:
            if self._written.get(job.id) is not job:
                with suppress(OSError, InfrastructureError):
                    self._write_status(job)
        whole.rename(self.layout.record)
        self.layout.reserve.unlink(missing_ok=True)
        self._journal.send(event)

    def _finish_removed(self, record: RunRecord, error: InfrastructureError) -> None:
        cause = Cause(code=CauseCode.RECORD_REMOVED, message=error.message, hint=error.hint)
        end = {"status": Status.FAILED, "failure_kind": FailureKind.INFRASTRUCTURE, "cause": cause}
        self._put(record.with_(**end, message=error.message))
        if self.layout.record.exists():
            _write(self.layout.record, self.record)
            self.layout.reserve.unlink(missing_ok=True)
        self._journal.send(self._journal.stamp(RunFinished(run=self.record)))

    def _put(self, record: RunRecord) -> None:
        self._record, self._jobs = record, {job.id: job for job in record.jobs}

    def _write_status(self, job: JobRecord, *, durable: bool = True) -> None:
        path = self.layout.status(job.id)
        self.check()
        make_private(path.parent)
        # Two for each job: in one line, which is made several times as fast as an indented text.
        atomic.write_bytes(path, job.as_json() + b"\n", durable=durable)
        self._written[job.id] = job


def _write(path: Path, record: Model) -> None:
    atomic.write_bytes(path, record.as_json(indent=1) + b"\n")


@contextmanager
def open_run(
    state: StateLayout, record: RunRecord, plan: Plan, sinks: Sequence[Sink]
) -> Iterator[RunWriter]:
    """Create a run's directory and hold its owner lock."""
    layout = state.run(record.run_id)
    with ExitStack() as owned:
        _give_birth(state, layout, record, plan, owned)
        with closing(Journal(layout.events, record.run_id, sinks)) as journal:
            writer = RunWriter(layout, record, journal)
            journal.emit(RunStarted(run=record))
            yield writer


def _give_birth(
    state: StateLayout, layout: RunLayout, record: RunRecord, plan: Plan, owned: ExitStack
) -> None:
    """Make the directory under another name and give it its own; `owned` holds its lock."""
    unborn = RunLayout(layout.root.with_name(layout.run_id + UNBORN_SUFFIX))
    if layout.root.exists() or state.batch(record.run_id).exists():
        raise _taken(record.run_id)
    if unborn.root.exists():
        # Most likely left by a process that died; if not, it is in use and not removed.
        remove_unowned(state, unborn.root)
    if not state.order.exists():
        with suppress(OSError):
            order.renew(state)
    with holding_names(state, shared=True):
        try:
            unborn.root.mkdir(mode=0o700)
        except FileExistsError:
            raise UsageError(
                f"run {record.run_id} is being started by another process", "give another --run-id"
            ) from None
        owned.enter_context(owning(unborn.root))
        try:
            _write_first_records(unborn, record, plan)
            order.append(state, record.run_id)
            unborn.root.rename(layout.root)
        except OSError as error:
            remove_tree(unborn.root)
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise _taken(record.run_id) from None
            raise unwritable(f"the run can't be recorded in {layout.root}", error) from error


def _taken(run_id: str) -> UsageError:
    return UsageError(f"run {run_id} exists already", "leave --run-id out, or give another")


def _write_first_records(run: RunLayout, record: RunRecord, plan: Plan) -> None:
    with run.reserve.open("xb", buffering=0) as reserve:
        size = _reserve_bytes(record, plan)
        if reserve.write(bytes(size)) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for directory in (run.gcroots, run.scratch, run.root / "jobs"):
        directory.mkdir(mode=0o700)
    atomic.write_json(run.plan, plan.dump())
    _write(run.record, record)


def _reserve_bytes(record: RunRecord, plan: Plan) -> int:
    """What the terminal record of a run can take if every job makes all its attempts."""
    text = record.as_json(indent=1)
    retries = [node.execute.retries for node in plan.jobs]
    # The first attempt, and the last once more: it is what is loose on a job.
    rows = sum(2 + min(MOST_RETRIES, more.infrastructure + more.test) for more in retries)
    growth = ATTEMPT_BYTES * rows + TIMING_BYTES * len(plan.prepares)
    files = 2 * BLOCK_BYTES * len(plan.jobs)
    return RESERVE_BYTES + TERMINAL_WRITES * (len(text) + growth) + files
