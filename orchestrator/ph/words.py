"""What `ph` says of runs and lanes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ph.forge import rows
from ph.screen import duration, table

if TYPE_CHECKING:
    from ph.forge import Json

SHORT = 12
LEAST_SECS = 0.1
MOST_TESTS = 10
"""Failed tests of a job that are named."""


def branch_words(branch: Json) -> str:
    """`feature of demo  open  1f3a...`."""
    line = branch["line"]
    head = str(line.get("head") or "")[:SHORT]
    return f"{line.get('name')} of {line.get('repo')}: {line.get('state')} {head}".rstrip()


def run_words(run: Json) -> str:
    """`run 3 (branch): failed, 1 failed, 2 passed`."""
    line = run["line"]
    said = f"run {line.get('id')} ({line.get('kind')}): {line.get('state')}"
    if summary := line.get("summary"):
        said += f" - {summary}"
    if message := line.get("message"):
        said += f"\n{message}"
    if hint := line.get("hint"):
        said += f"\nhint: {hint}"
    return said


def lanes_table(run: Json) -> str:
    """The lanes of a run, each with why it stands as it does."""
    cells = [
        (lane.get("name"), lane.get("id"), lane.get("state"), lane_words(lane))
        for lane in rows(run, "lanes")
    ]
    return table(("LANE", "ID", "STATE", "WHY"), cells)


def lane_words(lane: Json) -> str:
    """How a lane stands: what it waited for, then what failed."""
    said = [str(lane.get("sentence") or "")]
    cause = lane.get("cause") or {}
    if lane.get("failure_kind") or cause:
        kind = lane.get("failure_kind") or "failed"
        said.append(f"{kind}: {cause.get('message')}" if cause.get("message") else str(kind))
    return "; ".join(filter(None, said))


def waits_table(lane: Json, now: float) -> str | None:
    """What a lane waited for, one after the other, but what took no time; None for nothing."""
    cells = []
    for wait in rows(lane, "waits"):
        since, until = wait.get("since"), wait.get("until")
        secs = None if since is None else (now if until is None else until) - since
        if secs is None or secs >= LEAST_SECS or until is None:
            what = wait.get("words") or wait.get("code")
            cells.append((clock(since), "?" if secs is None else duration(secs), what))
    return table(("SINCE (UTC)", "FOR", "WHY"), cells) if cells else None


def attempt_words(attempt: Json, now: float) -> str:
    """`attempt 1 on host (pikaci run ID): failed after 12 s, exit code 1`."""
    said = f"attempt {attempt.get('number')} on {attempt.get('host')}"
    said += f" (pikaci run {attempt.get('pikaci_run_id')}): {attempt.get('state')}"
    begun = attempt.get("started_at") or attempt.get("claimed_at")
    if begun is not None:
        said += f" after {duration((attempt.get('finished_at') or now) - begun)}"
    if attempt.get("exit_code") is not None:
        said += f", exit code {attempt['exit_code']}"
    return said + (f"; {attempt['refused']}" if attempt.get("refused") else "")


def cause_lines(lane: Json) -> list[str]:
    """Why it failed, and what may help."""
    cause = lane.get("cause") or {}
    found = (
        [f"{lane.get('failure_kind') or 'failed'}: {cause['message']}"]
        if "message" in cause
        else []
    )
    return [*found, *([f"hint: {cause['hint']}"] if cause.get("hint") else [])]


def tests_lines(lane: Json) -> list[str]:
    """The tests of each job: how many, and which of them failed, where and why."""
    found = []
    for job in rows(lane, "tests"):
        tests = job.get("tests") or {}
        errors = tests.get("errors")
        counts = [f"{tests.get(name)} {name}" for name in ("passed", "failed", "skipped")]
        counts.insert(2, f"{errors} error{'' if errors == 1 else 's'}")
        found.append(f"{job.get('job')}: {tests.get('total')} tests, {', '.join(counts)}")
        found += [f"  {_failed_test(each)}" for each in rows(tests, "failures")[:MOST_TESTS]]
        for report in rows(tests, "reports"):
            if report.get("unreadable"):
                found.append(f"  {report.get('path')}: {report['unreadable']}")
    return found


def _failed_test(test: Json) -> str:
    place = f" ({test.get('file')}:{test.get('line')})" if test.get("line") else ""
    why = str(test.get("message") or "").partition("\n")[0]
    return f"{test.get('name')}{place}{why and f': {why}'}"


def clock(at: float | None) -> str:
    """A time of the day, in UTC."""
    return "?" if at is None else time.strftime("%H:%M:%S", time.gmtime(at))
