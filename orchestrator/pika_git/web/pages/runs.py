"""A run, a lane of it, and logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse

from pika_git.forge_service import details
from pika_git.forge_service.errors import MissingError
from pika_git.forge_service.log_view import Logs
from pika_git.forge_service.timeline import attempt_rows, waiting_rows
from pika_git.persistence.auth import Role
from pika_git.web import log_html
from pika_git.web.auth import ForgeDep
from pika_git.web.pages.render import Id, page
from pika_git.web.routes import Routes

if TYPE_CHECKING:
    from pika_git.forge_service.forge import Forge
    from pika_git.forge_service.log_view import LogView
    from pika_git.forge_service.model import (
        Attempt,
        JobLine,
        JobTests,
        Lane,
        Recorded,
        Run,
        TimelineRow,
    )

SHOWN_LANES = 4
"""A run's page shows the records of so many lanes, and leads to the pages of the others."""
SHOWN_TESTS = 5
"""The tests of so many jobs are shown, those first of which some failed."""
LOOKED_AT = {"failed", "running", "cancelling", "unknown"}
TAIL_LINES = 30
PART_CHARACTERS = 150_000
Word = Annotated[str | None, Query(max_length=64)]

routes = Routes()


@dataclass(frozen=True)
class LaneView:
    """What is shown of a lane's attempt beside the lane itself."""

    rows: tuple[TimelineRow, ...]
    begin: float
    end: float
    problem: str | None
    jobs: tuple[JobLine, ...]
    tests: tuple[JobTests, ...]
    log: LogView | None

    @property
    def failed_jobs(self) -> list[JobLine]:
        """The jobs that failed."""
        return [job for job in self.jobs if job.status == "failed"]

    @property
    def kinds(self) -> set[str]:
        """The kinds of logs that are there."""
        return {log.kind for job in self.jobs for log in job.logs}


@routes.get("/runs/{run_id}", Role.READ, include_in_schema=False)
def run(request: Request, forge: ForgeDep, run_id: Id) -> HTMLResponse:
    """A run: its lanes, what failed first."""
    found = details.run(forge, run_id)
    if found is None:
        raise MissingError(f"there is no run {run_id}")
    chosen = [lane for lane in found.lanes if lane.state in LOOKED_AT][:SHOWN_LANES]
    if len(found.lanes) == 1:
        chosen = list(found.lanes)
    shown = {lane.id: lane_view(forge, found, lane, is_short=True) for lane in chosen}
    live = [lane.id for lane in chosen if (view := shown[lane.id].log) and view.is_live]
    return page(request, "run", run=found, shown=shown, follows=live[0] if live else None)


@routes.get("/lanes/{lane_id}", Role.READ, include_in_schema=False)
def lane(
    request: Request,
    forge: ForgeDep,
    lane_id: Id,
    attempt: Annotated[int | None, Query(ge=0, le=2**31)] = None,
    job: Word = None,
    kind: Word = None,
) -> HTMLResponse:
    """A lane: what it waited for, its attempts, their timeline and logs."""
    found, its = _found(forge, lane_id)
    chosen = _attempt(its, attempt)
    return page(
        request,
        "lane",
        run=found,
        lane=its,
        attempt=chosen.number if chosen else None,
        others=its.attempts,
        view=lane_view(forge, found, its, chosen, job=job, kind=kind),
    )


@routes.get("/lanes/{lane_id}/log", Role.READ, include_in_schema=False)
def log(
    request: Request,
    forge: ForgeDep,
    lane_id: Id,
    job: Annotated[str, Query(max_length=64)],
    kind: Annotated[str, Query(max_length=8)],
    offset: Annotated[int, Query(ge=0, le=2**60)] = 0,
    attempt: Annotated[int | None, Query(ge=0, le=2**31)] = None,
    upto: Annotated[int, Query(ge=0, le=2**60)] = 2**60,
    bare: Annotated[int, Query(ge=0, le=1)] = 0,
) -> HTMLResponse:
    """A part of a log, to `upto` at most. `bare` is the part alone, with `X-Next-Offset`."""
    found, its = _found(forge, lane_id)
    chosen = _attempt(its, attempt)
    if chosen is None:
        raise MissingError(f"lane {lane_id} has not run")
    recorded = details.recorded(forge, found.repo_id, chosen, found.now)
    view = Logs(forge, found.repo_id, lane_id, recorded).part(job, kind, offset)
    if view is None:
        raise MissingError(recorded.problem or f"lane {lane_id} has no such log")
    part = view.parts[0]
    html, taken = log_html.within(part.data[: max(0, upto - offset)], PART_CHARACTERS)
    end = part.offset + taken
    if bare:
        return HTMLResponse(html, headers={"X-Next-Offset": str(end)})
    return page(
        request,
        "log",
        lane=its,
        view=view,
        begin=part.offset,
        end=end,
        html=Markup(html),  # noqa: S704 - the converter escapes
    )


def lane_view(
    forge: Forge,
    run: Run,
    lane: Lane,
    attempt: Attempt | None = None,
    *,
    job: str | None = None,
    kind: str | None = None,
    is_short: bool = False,
) -> LaneView:
    """What is shown of one attempt, the last one if `attempt` is None."""
    chosen = attempt or (lane.attempts[-1] if lane.attempts else None)
    begin = lane.enqueued_at if lane.enqueued_at is not None else run.now
    end = run.now if lane.finished_at is None else max(lane.finished_at, begin)
    rows = waiting_rows(lane, run.now)
    if chosen is None:
        return LaneView(tuple(rows), begin, end, None, (), (), None)
    recorded = details.recorded(forge, run.repo_id, chosen, run.now)
    rows += list(recorded.timeline) or attempt_rows(lane, run.now)
    logs = Logs(forge, run.repo_id, lane.id, recorded)
    view = logs.tail(TAIL_LINES) if is_short else logs.ends(job, kind)
    tests = sorted(recorded.tests, key=lambda each: not each.tests.bad)[:SHOWN_TESTS]
    problem = _problem(recorded, lane)
    return LaneView(tuple(rows), begin, end, problem, recorded.jobs, tuple(tests), view)


def _problem(recorded: Recorded, lane: Lane) -> str | None:
    """What is wrong with a record, unless the lane's cause says it already."""
    if recorded.problem and lane.cause and lane.cause.code == "record_missing":
        return None
    return recorded.problem


def _found(forge: Forge, lane_id: int) -> tuple[Run, Lane]:
    found = details.lane(forge, lane_id)
    if found is None:
        raise MissingError(f"there is no lane {lane_id}")
    return found


def _attempt(lane: Lane, number: int | None) -> Attempt | None:
    if number is None:
        return lane.attempts[-1] if lane.attempts else None
    for each in lane.attempts:
        if each.number == number:
            return each
    raise MissingError(f"lane {lane.id} has no attempt {number}")
