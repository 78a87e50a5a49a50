"""An attempt as its run's record has it: jobs, logs, and what took how long."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.lenient import moment, rows, whole, words
from pika_git.forge_service.lines import cause_of
from pika_git.forge_service.model import JobLine, JobTests, LogFile, Recorded, Segment, TimelineRow
from pika_git.forge_service.sentences import LEAST_SECS, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci import RunStore
    from pika_git.forge_service.model import Attempt, Lane, Source, Wait

BEGINS_SECS = 30.0
"""A run that isn't there so soon after its claim is about to be."""
MOST_ROWS = 60
"""A timeline with more is a list that no one reads: jobs past that are left out, and counted."""
PHASES = {
    "prepare_directories": "directories",
    "stage_workspace_snapshot": "workspace",
    "prepare_runtime": "runtime",
    "launch_guest": "launch",
    "wait_for_completion": "command",
    "collect_artifacts": "artifacts",
    "cleanup": "cleanup",
}
WAITS = {
    "queued": "queue",
    "blocked_by_concurrency_group": "group",
    "waiting_for_capacity": "capacity",
    "target_unhealthy": "cool-off",
    "host_unhealthy": "cool-off",
}


def recorded(source: Source, repo_id: int | None, attempt: Attempt, now: float) -> Recorded:
    """What the record of an attempt's run says. It reads files: hold no connection meanwhile."""
    from jerichoci import PikaciError, RunStore

    store = RunStore(source.data.state_root(repo_id or 0))
    run_id = attempt.pikaci_run_id
    try:
        values = store.record_values(run_id)
    except (PikaciError, OSError, ValueError) as error:
        problem = f"the record of run {run_id} can't be shown: {error}"
        begun = attempt.claimed_at
        if attempt.state == "running" and begun is not None and now - begun < BEGINS_SECS:
            problem = f"run {run_id} has not begun"
        return Recorded(attempt, None, problem, (), ())
    sizes = _sizes(store, run_id)
    jobs = rows(values, "jobs")
    wrong = rows({"all": values.get("problems")}, "all")
    return Recorded(
        attempt=attempt,
        status=words(values.get("status")),
        problem="; ".join(str(each) for each in wrong) or None,
        timeline=tuple([*_prepares(values), *_jobs(jobs, now)][:MOST_ROWS]),
        jobs=tuple(_job(job, sizes.get(str(job.get("id")), ())) for job in jobs),
        tests=tuple(_tests(jobs)),
    )


def waiting_rows(lane: Lane, now: float) -> list[TimelineRow]:
    """The waits of a lane as one row, nothing if it began at once."""
    segments = tuple(_wait(each) for each in lane.waits if each.since is not None)
    if not segments:
        return []
    total = sum((now if each.end is None else each.end) - each.start for each in segments)
    if total < LEAST_SECS and lane.state != "queued":
        return []
    said = [f"{each.label} {duration(_secs(each, now))}" for each in segments]
    return [TimelineRow("queue", " · ".join(said[:8]), total, segments)]


def attempt_rows(lane: Lane, now: float) -> list[TimelineRow]:
    """Each attempt of a lane as a row, for what has no record to look at."""
    found = []
    for each in lane.attempts:
        begun = each.started_at or each.claimed_at
        if begun is None:
            continue
        segment = Segment("run", f"attempt {each.number}", begun, each.finished_at, each.state)
        found.append(TimelineRow(segment.label, each.state, _secs(segment, now), (segment,)))
    return found


def _wait(wait: Wait) -> Segment:
    return Segment(
        "wait", WAITS.get(wait.code, wait.code.replace("_", " ")), wait.since or 0.0, wait.until
    )


def _prepares(values: dict[str, Any]) -> list[TimelineRow]:
    found = []
    for row in rows(values, "prepare_timings"):
        start, end = moment(row.get("started_at")), moment(row.get("finished_at"))
        if start is None:
            continue
        is_cached = row.get("cached") is True
        outcome = words(row.get("outcome"))
        segment = Segment("prepare", "prepare", start, end, outcome)
        said = "was there already" if is_cached else "built" if outcome == "passed" else outcome
        secs = None if end is None else end - start
        name = words(row.get("prepare_id")) or words(row.get("node_id")) or "prepare"
        found.append(TimelineRow(name, said or "", secs, (segment,)))
    return found


def _jobs(jobs: list[dict[str, Any]], now: float) -> list[TimelineRow]:
    found = []
    for job in jobs:
        tries = rows(job, "attempts") or [job]
        for number, each in enumerate(tries, 1):
            segments = tuple(filter(None, (_phase(row) for row in rows(each, "phases"))))
            if not segments:
                continue
            name = words(job.get("id")) or "job"
            total = sum(_secs(segment, now) for segment in segments)
            said = [
                f"{segment.label} {duration(_secs(segment, now))}"
                for segment in segments
                if _secs(segment, now) >= 0.05  # noqa: PLR2004 - it would be said as 0.0 s
            ]
            label = name if len(tries) == 1 else f"{name}, try {number}"
            found.append(TimelineRow(label, " · ".join(said), total, segments))
    return found


def _phase(row: dict[str, Any]) -> Segment | None:
    start, end = moment(row.get("started_at")), moment(row.get("finished_at"))
    if start is None:
        return None
    name = words(row.get("phase")) or "phase"
    return Segment("phase", PHASES.get(name, name), start, end, words(row.get("outcome")))


def _secs(segment: Segment, now: float) -> float:
    return max(0.0, (now if segment.end is None else segment.end) - segment.start)


def _job(job: dict[str, Any], logs: tuple[LogFile, ...]) -> JobLine:
    found = job.get("cause")
    return JobLine(
        id=words(job.get("id")) or "unknown",
        description=words(job.get("description")) or "",
        status=words(job.get("status")) or "unknown",
        failure_kind=words(job.get("failure_kind")),
        cause=cause_of(found) if isinstance(found, dict) else None,
        host=words(job.get("host")),
        exit_code=whole(job.get("exit_code")),
        tries=len(rows(job, "attempts")),
        started_at=moment(job.get("started_at")),
        finished_at=moment(job.get("finished_at")),
        logs=logs,
        artifacts=tuple(words(row.get("path")) or "unknown" for row in rows(job, "artifacts")),
    )


def _tests(jobs: list[dict[str, Any]]) -> Iterator[JobTests]:
    """The tests of the jobs that have some; what is damaged is left out."""
    from jerichoci import TestSummary

    for job in jobs:
        if job.get("tests") is not None:
            with suppress(ValueError):
                tests = TestSummary.model_validate(job["tests"])
                yield JobTests(words(job.get("id")) or "unknown", tests)


def _sizes(store: RunStore, run_id: str) -> dict[str, tuple[LogFile, ...]]:
    from jerichoci import PikaciError

    found: dict[str, tuple[LogFile, ...]] = {}
    try:
        metadata = store.load_logs_metadata(run_id)
    except (PikaciError, OSError):
        return found
    for row in metadata:
        if row.exists:
            found[row.job_id] = (*found.get(row.job_id, ()), LogFile(row.kind, row.bytes))
    return found
