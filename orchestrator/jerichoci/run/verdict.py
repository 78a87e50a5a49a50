"""The results of a run and its jobs, and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.machine.stop import StopReason
from jerichoci.record.record import Cause, JobRecord, RunRecord
from jerichoci.state.clock import timestamp
from jerichoci.status import PREPARE_PHASE, CauseCode, FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.nix.realised import Realised

MOST_NAMED = 5
"""Other failed jobs in the message of a run."""

STOP_CAUSES = {
    StopReason.CANCELLED: Cause(code=CauseCode.CANCELLED, message="the run was cancelled"),
    StopReason.FAIL_FAST: Cause(
        code=CauseCode.FAIL_FAST, message="another job failed and --fail-fast was given"
    ),
    StopReason.BROKEN: Cause(
        code=CauseCode.ENVIRONMENT_FAILED, message="the run was aborted by an internal error"
    ),
}


def conclude(
    record: RunRecord,
    jobs: Sequence[JobRecord],
    stopped: StopReason | None,
    failure: BaseException | None,
) -> RunRecord:
    """The terminal record of a run from its jobs', from why it was stopped and what broke it.

    Of several failed jobs the run takes the first kind in the order of FailureKind. A run whose
    jobs were stopped because a job of another run failed is cancelled.
    """
    record = record.with_(jobs=list(jobs), finished_at=timestamp())
    broken = [job for job in jobs if job.status is Status.FAILED]
    kinds = {job.failure_kind for job in broken}
    kind = next((kind for kind in FailureKind if kind in kinds), None)
    if failure is not None:
        is_known = isinstance(failure, OSError | PikaciError)
        code = CauseCode.ENVIRONMENT_FAILED if is_known else CauseCode.INTERNAL_ERROR
        cause = Cause(code=code, message=broken_message(failure))
        kind = kind or FailureKind.INFRASTRUCTURE
        changes = {"status": Status.FAILED, "failure_kind": kind, "cause": cause}
        return record.with_(**changes, message=cause.message)
    is_cut = any(job.cause and job.cause.code == CauseCode.FAIL_FAST for job in jobs)
    if stopped is StopReason.CANCELLED or (is_cut and kind is None):
        cause = stop_cause(stopped)
        return record.with_(status=Status.CANCELLED, cause=cause, message=cause.message)
    if kind is not None:
        first = next(job for job in broken if job.failure_kind is kind)
        changes = {"status": Status.FAILED, "failure_kind": kind, "cause": first.cause}
        others = [job.id for job in broken if job is not first]
        return record.with_(**changes, message=_with_others(first.message, others, len(jobs)))
    return record.with_(status=Status.PASSED)


def _with_others(message: str | None, others: Sequence[str], count: int) -> str | None:
    """The message of a failed job as that of its run, of which other jobs failed, too."""
    if not others:
        return message
    more = len(others) - MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    named = ", ".join(others[:MOST_NAMED])
    return f"{message} ({len(others) + 1} of {count} jobs failed: also {named}{rest})"


def broken_message(failure: BaseException | None) -> str:
    """The sentence for what broke a run."""
    match failure:
        case PikaciError():
            return failure.message
        case OSError():
            where = f": {failure.filename}" if failure.filename else ""
            return f"the run could not be recorded: {failure.strerror}{where}"
        case _:
            return f"pikaci itself failed: {failure!r}"


def job_message(job: JobRecord) -> str | None:
    """The message of a job's cause, or its notes."""
    return job.cause.message if job.cause else "; ".join(job.notes) or None


def stop_cause(reason: StopReason | None) -> Cause:
    """Why a job was ended, or not begun, when the run was stopped."""
    return STOP_CAUSES[reason or StopReason.CANCELLED]


def prepare_failed(result: Realised) -> dict[str, Any]:
    """The fields of a job whose prepare failed."""
    return {
        "status": Status.FAILED,
        "failure_kind": result.failure_kind,
        "cause": prepare_cause(result),
        "message": result.fault.message if result.fault else None,
    }


def prepare_cause(result: Realised) -> Cause | None:
    """Why a prepare failed, as records have it."""
    return Cause(phase=PREPARE_PHASE, **vars(result.fault)) if result.fault else None
