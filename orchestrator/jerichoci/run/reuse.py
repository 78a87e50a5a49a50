"""`--reuse`: taking the verdict of an earlier run of the same plan, files and images."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jerichoci.record import verdicts
from jerichoci.record.rundir import open_run
from jerichoci.record.verdicts import Judged, Verdict
from jerichoci.run.request import first_record
from jerichoci.run.runtimes import images_here, is_guest
from jerichoci.state.clock import timestamp
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import new_run_id
from jerichoci.state.reading import read_run
from jerichoci.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.record.journal import Sink
    from jerichoci.record.record import RunRecord
    from jerichoci.run.request import RunRequest
    from jerichoci.state.layout import StateLayout

SECS_OF_HOUR = 3600.0


@dataclass(frozen=True)
class Earlier:
    """The run whose verdict may be taken, or why one that passed is of no use."""

    run_id: str | None = None
    why_not: str | None = None


def find_earlier(state: StateLayout, request: RunRequest, hours: float) -> Earlier:
    """Look for a run of the same that passed and is at most so many hours old."""
    record = first_record(state, request, request.plan.with_(run_id=new_run_id()))
    judged = verdicts.verdicts_of(state, record, request.only())
    passed = [each.run_id for each in judged if each.verdict is Verdict.PASSED]
    if not passed:
        return Earlier()
    why_not = next(_objections(state, request, hours, judged, passed[-1]), None)
    return Earlier(None, why_not) if why_not else Earlier(passed[-1])


def _objections(
    state: StateLayout, request: RunRequest, hours: float, judged: Sequence[Judged], latest: str
) -> Iterator[str]:
    """Why the verdict of the `latest` run that passed is not one to take."""
    jobs = _jobs(request)
    if not request.plan.reuse:
        yield "its target has `reuse = false`"
    for other in judged:
        if other.verdict is not Verdict.PASSED:
            yield f"run {latest} passed and run {other.run_id} {_did(other.verdict)}"
    for node in jobs:
        if node.execute.secrets:
            yield f"its job {node.job_id} has secrets"
    values = _read(state, latest)
    if values.get("status") != Status.PASSED:
        yield f"the record of run {latest} is gone"
    ended = datetime.fromisoformat(str(values["finished_at"]))
    if (datetime.now(UTC) - ended).total_seconds() > hours * SECS_OF_HOUR:
        yield f"run {latest} is more than {hours:g} h old"
    if why := _images_differ(request, jobs, values):
        yield why


def _did(verdict: Verdict) -> str:
    return "failed" if verdict is Verdict.FAILED else "passed when it was tried again"


def _jobs(request: RunRequest) -> list[ExecuteNode]:
    selected = request.selected()
    return [node for node in request.plan.jobs if node.id in selected]


def _read(state: StateLayout, run_id: str) -> dict[str, Any]:
    try:
        return read_run(state.run(run_id))
    except (OSError, ValueError, RecursionError):
        return {}


def _images_differ(
    request: RunRequest, jobs: Sequence[ExecuteNode], values: dict[str, Any]
) -> str | None:
    """Why the images of a run's guests are not known to be those of now."""
    guests = [node for node in jobs if is_guest(node)]
    now = images_here(guests)
    aliases = {image.role: image.alias for image in request.plan.images}
    then = {row.get("id"): row.get("execution", {}) for row in values.get("jobs", [])}
    for node in guests:
        role = str(node.runtime_config.get("role"))
        mark = then.get(node.job_id, {}).get("image_fingerprint")
        if mark is None or mark != now.get(aliases.get(role, "")):
            image = aliases.get(role, role)
            return f"the image {image} of its job {node.job_id} is not known to be the same"
    return None


def reused_record(record: RunRecord, request: RunRequest) -> RunRecord:
    """The terminal record of a run that takes the verdict of another."""
    same = "plan, tree and image" if any(map(is_guest, _jobs(request))) else "plan and tree"
    message = f"same {same} as run {request.reuses}"
    mine = {node.job_id for node in _jobs(request)}
    end: dict[str, Any] = {"status": Status.PASSED, "message": message}
    jobs = [
        job.with_(**end) if job.id in mine else job.with_(status=Status.SKIPPED)
        for job in record.jobs
    ]
    return record.with_(**end, reused_run=request.reuses, finished_at=timestamp(), jobs=jobs)


def record_reused(state: StateLayout, request: RunRequest, sinks: Sequence[Sink]) -> RunRecord:
    """Record a run that takes the verdict of another."""
    run_id = request.run_id or new_run_id()
    plan = request.plan.with_(run_id=run_id, created_at=timestamp())
    with open_run(state, first_record(state, request, plan), plan, sinks) as writer:
        writer.finish(reused_record(writer.record, request))
        return writer.record
