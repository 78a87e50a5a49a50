"""What became of a lane, by the record of its run and nothing else."""

from __future__ import annotations

from dataclasses import replace
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
    from jerichoci import PikaciError

    code = ended.exit_code if ended else None
    try:
        record = store.record_values(run_id)
    except (PikaciError, OSError) as error:
        return _without_record(store, ended, said, str(error))
    state = STATES.get(str(record.get("status")))
    if state is None:
        message = f"the run ended with the status {record.get('status')}"
        return broken("record_invalid", message, code)
    kind = _text(record.get("failure_kind"))
    if state is LaneState.FAILED and kind is None:
        kind = "infrastructure"
    return Ending(state, kind, _noted(_cause(record), record, code), code)


def broken(
    code: str, message: str, exit_code: int | None = None, *, is_final: bool = False
) -> Ending:
    """The end of a lane that failed by infrastructure."""
    cause = {"code": code, "message": message}
    return Ending(LaneState.FAILED, "infrastructure", cause, exit_code, is_final=is_final)


def with_note(ending: Ending, note: str | None) -> Ending:
    """The end with one more note in its cause."""
    if note is None:
        return ending
    cause = ending.cause or {"code": "left", "message": note}
    notes = [each for each in (cause.get("note"), note) if isinstance(each, str)]
    return replace(ending, cause={**cause, "note": "; ".join(notes)})


def has_sources(store: RunStore) -> bool:
    """Whether the state root has what plans were made of; if not, none can run."""
    return store.layout.git.is_dir()


def _without_record(store: RunStore, ended: Ended | None, said: str, why: str) -> Ending:
    from jerichoci import EXIT_USAGE

    code = ended.exit_code if ended else None
    if not has_sources(store):
        message = f"{store.layout.git} is missing, and with it the source of the plan"
        return broken("state_root_missing", message, code, is_final=True)
    text = said.strip()[-MOST_SAID:]
    if code is not None and text:
        is_final = code == EXIT_USAGE
        return broken("run_refused", f"the run did not begin: {text}", code, is_final=is_final)
    what = (ended.error if ended else None) or text or why
    return broken("record_missing", f"the run has no record: {what}", code)


def _cause(record: dict[str, Any]) -> dict[str, Any] | None:
    found = record.get("cause")
    if isinstance(found, dict):
        return found
    message = _text(record.get("message"))
    return {"code": "failed", "message": message} if message else None


def _noted(
    cause: dict[str, Any] | None, record: dict[str, Any], code: int | None
) -> dict[str, Any] | None:
    """The cause, with a note if the exit status says something else than the record."""
    wanted = _wanted(record)
    if code is None or wanted == code:
        return cause
    note = f"pikaci exited with {code}, and the record asks for {wanted}"
    return {**(cause or {"code": "exit_code", "message": note}), "note": note}


def _wanted(record: dict[str, Any]) -> int | None:
    from jerichoci import FailureKind, Status, exit_code

    kind = record.get("failure_kind")
    try:
        return int(exit_code(Status(record["status"]), FailureKind(kind) if kind else None))
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
