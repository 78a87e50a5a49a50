"""Logs, events and records of the runs of lanes."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from jerichoci import LogKind, RecordError
from pika_git.forge_service import records
from pika_git.forge_service.errors import ConflictError, GoneError
from pika_git.forge_service.log_bytes import Window, read_window
from pika_git.forge_service.records import LaneLogs, LogFile, LogText
from pika_git.persistence.auth import Role
from pika_git.web import streams
from pika_git.web.api.values import LARGEST_ID, Id
from pika_git.web.auth import ForgeDep
from pika_git.web.errors import ApiError
from pika_git.web.routes import Routes

routes = Routes("/api/v1", "logs and records")

WINDOW_BYTES = 64 * 1024
MOST_WINDOW_BYTES = 4 * 1024 * 1024
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/plain": {}},
        "headers": {
            "X-Next-Offset": {"schema": {"type": "integer"}, "description": "where to read on"},
            "X-Size": {"schema": {"type": "integer"}, "description": "how long the log is now"},
            "X-Over": {
                "schema": {"type": "string", "enum": ["true", "false"]},
                "description": "whether nothing comes after this",
            },
            "X-Job": {"schema": {"type": "string"}},
            "X-Attempt": {"schema": {"type": "integer"}},
            "X-Job-Attempt": {"schema": {"type": "integer"}},
        },
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}

_FIRST = "the first of the plan by default"
Job = Annotated[str | None, Query(max_length=64)]
Number = Annotated[int | None, Query(ge=1, le=LARGEST_ID)]
RunId = Annotated[str, Path(max_length=100)]


class WindowQuery(BaseModel):
    """Which bytes of which log; the newest attempt by default, of lane and job."""

    job: str | None = Field(None, max_length=64, description=_FIRST)
    kind: LogKind = LogKind.BOTH
    attempt: int | None = Field(None, ge=1, le=LARGEST_ID)
    job_attempt: int | None = Field(None, ge=1, le=LARGEST_ID)
    offset: int = Field(0, ge=-LARGEST_ID, le=LARGEST_ID)
    limit: int = Field(WINDOW_BYTES, ge=1, le=MOST_WINDOW_BYTES)


class StreamQuery(BaseModel):
    """Which log, and where to begin; the newest attempt of the lane, the first of its job."""

    job: str | None = Field(None, max_length=64, description=_FIRST)
    kind: Literal["host", "guest"] = "host"
    attempt: int | None = Field(None, ge=1, le=LARGEST_ID)
    job_attempt: int = Field(1, ge=1, le=LARGEST_ID)
    offset: int = Field(0, ge=0, le=LARGEST_ID)


class Events(BaseModel):
    """Events of a run from a byte offset on; `is_over`: none will come after these."""

    events: list[dict[str, Any]]
    next_offset: int
    is_over: bool


@routes.get("/lanes/{lane_id}/log", Role.READ, response_class=Response, responses=_BYTES)
def show_log(forge: ForgeDep, lane_id: Id, query: Annotated[WindowQuery, Query()]) -> Response:
    """Bytes of a log. A negative offset is from its end; `both` is the host's, then the guest's."""
    found = records.attempt_of(forge, lane_id, query.attempt)
    store = records.store_of(forge, found.repo_id)
    if not records.has_records(store, found.pikaci_run_id) and not found.is_over:
        return _window(Window(b"", 0, 0), is_over=False)
    log = records.find_log(store, found, query.job, query.kind, query.job_attempt)
    kinds = [LogKind.HOST, LogKind.GUEST] if query.kind is LogKind.BOTH else [query.kind]
    is_over = log.is_over()  # asked first: what was written before is in what is read
    paths = [store.log_path(log.run_id, log.job, each, log.job_attempt) for each in kinds]
    window = read_window(paths, query.offset, query.limit)
    return _window(window, log, is_over=is_over and window.next_offset >= window.size)


def _window(window: Window, log: LogFile | None = None, *, is_over: bool) -> Response:
    headers = {"X-Next-Offset": str(window.next_offset), "X-Size": str(window.size)}
    headers["X-Over"] = str(is_over).lower()
    if log is not None:
        headers |= {"X-Job": log.job, "X-Job-Attempt": str(log.job_attempt)}
        headers["X-Attempt"] = str(log.attempt)
    return Response(window.data, media_type="text/plain; charset=utf-8", headers=headers)


@routes.get("/lanes/{lane_id}/log/stream", Role.READ, response_class=Response, responses=_EVENTS)
def stream_log(
    request: Request,
    forge: ForgeDep,
    lane_id: Id,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> Response:
    """A log as it is written, as server-sent events whose ids are byte offsets.

    `message` has `{"offset", "text"}` (and `base64`, where the bytes are no UTF-8); `end` has
    `{"size", "next_job_attempt"}`; `gone` and `revoked` end it, too. `Last-Event-ID` wins over
    `offset`. A try at the job is one log, the first by default: `end` names the next one.
    """
    start = query.offset if last_event_id is None else last_event_id
    found = records.attempt_of(forge, lane_id, query.attempt)
    if start and query.attempt is None and found.number > 1:
        raise ConflictError(
            f"lane {lane_id} has had {found.number} attempts, and each has its own log",
            "name the `attempt` that the offset is of",
        )
    store = records.store_of(forge, found.repo_id)

    def find() -> LogFile | None:
        if not records.has_records(store, found.pikaci_run_id):
            if records.attempt_of(forge, lane_id, found.number).is_over:
                raise GoneError(f"the records of run {found.pikaci_run_id} were removed")
            return None
        if query.job is None and not records.jobs_of(store, found.pikaci_run_id):
            return None
        return records.find_log(store, found, query.job, LogKind(query.kind), query.job_attempt)

    with suppress(GoneError):  # the stream says so, as it would later
        find()
    state = request.app.state
    reader = streams.Reader(request, Role.READ, state.pace.comment_secs)
    events = streams.follow(find, store.layout.root, start, state.growth, reader)
    return streams.EventStream(events, state.pace)


@routes.get("/lanes/{lane_id}/events", Role.READ)
def show_events(
    forge: ForgeDep,
    lane_id: Id,
    attempt: Number = None,
    offset: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
) -> Events:
    """The events of an attempt's run, as pikaci wrote them."""
    found = records.attempt_of(forge, lane_id, attempt)
    store = records.store_of(forge, found.repo_id)
    records.jobs_of(store, found.pikaci_run_id)
    try:
        chunk = store.read_events(found.pikaci_run_id, offset)
    except RecordError as error:
        raise ApiError(410, error.message, error.hint) from None
    return Events(events=list(chunk.events), next_offset=chunk.next_offset, is_over=chunk.is_over)


@routes.get("/branches/{branch_id}/logs", Role.READ)
def branch_logs(forge: ForgeDep, branch_id: Id) -> list[LaneLogs]:
    """The lanes of a branch's newest run, with their run's record and what logs there are."""
    return records.branch_logs(forge, branch_id)


@routes.get("/pikaci/runs/{run_id}", Role.READ)
def run_record(forge: ForgeDep, run_id: RunId) -> dict[str, Any]:
    """The record of a run of pikaci."""
    return records.run_record(records.of_pikaci_run(forge, run_id), run_id)


@routes.get("/pikaci/runs/{run_id}/logs", Role.READ)
def run_logs(
    forge: ForgeDep,
    run_id: RunId,
    job: Job = None,
    kind: LogKind = LogKind.BOTH,
    limit: Annotated[int, Query(ge=1, le=MOST_WINDOW_BYTES)] = WINDOW_BYTES,
) -> list[LogText]:
    """The end of each log of a run, as text."""
    return records.log_texts(records.of_pikaci_run(forge, run_id), run_id, job, kind, limit)


@routes.get("/pikaci/runs/{run_id}/prepared-outputs", Role.READ)
def prepared_outputs(forge: ForgeDep, run_id: RunId) -> dict[str, Any]:
    """What a run prepared."""
    return records.prepared_outputs(records.of_pikaci_run(forge, run_id), run_id)
