"""What became of a lane, by the record of its run and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pika_git.persistence.queue import Ending, LaneState

if TYPE_CHECKING:
    from jerichoci import RunStore
    from pika_git.pikaci_process import Ended

STATES = {
    "passed": LaneState.SUCCESS,
    "failed": LaneState.FAILED,
    "skipped": LaneState.SKIPPED,
    "cancelled": LaneState.CANCELLED,
}
MOST_SAID = 2000


def verdict(store: RunStore, run_id: str, ended: Ended | None, said: str) -> Ending:
    """The end of a lane whose run is over; `said` is what `pikaci` printed on stderr."""
    from jerichoci import PikaciError, exit_code

    code = ended.exit_code if ended else None
    try:
        record = store.record_values(run_id)
    except (PikaciError, OSError) as error:
        what = said.strip()[-MOST_SAID:] or (ended.error if ended else None) or str(error)
        return broken("record_missing", f"the run has no record: {what}", code)
    state = STATES.get(str(record.get("status")))
    if state is None:
        return broken(
            "record_invalid", f"the run ended with the status {record.get('status')}", code
        )
    kind = _text(record.get("failure_kind"))
    cause = _cause(record)
    if state is LaneState.FAILED and kind is None:
        kind = "infrastructure"
    if code is not None and (wanted := _wanted(record, exit_code)) != code:
        note = f"pikaci exited with {code}, and the record asks for {wanted}"
        cause = {**(cause or {"code": "exit_code", "message": note}), "note": note}
    return Ending(state, kind, cause, code)


def broken(code: str, message: str, exit_code: int | None = None) -> Ending:
    """The end of a lane that failed by infrastructure."""
    cause = {"code": code, "message": message}
    return Ending(LaneState.FAILED, "infrastructure", cause, exit_code)


def _cause(record: dict[str, Any]) -> dict[str, Any] | None:
    found = record.get("cause")
    if isinstance(found, dict):
        return found
    message = _text(record.get("message"))
    return {"code": "failed", "message": message} if message else None


def _wanted(record: dict[str, Any], exit_code: Any) -> int | None:  # noqa: ANN401 - the engine's
    from jerichoci import FailureKind, Status

    kind = record.get("failure_kind")
    try:
        return int(exit_code(Status(record["status"]), FailureKind(kind) if kind else None))
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
