"""A step summary: Markdown about runs, for the page that a CI server shows of a step.

Tables come first; then for each failed job why it failed, which of its tests failed, and its last
lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.record.record import JobRecord
from jerichoci.state.ids import prepare_name
from jerichoci.status import Outcome, Status
from pikaci.render import words
from pikaci.render.ci import markdown
from pikaci.render.tail import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jerichoci.record.record import RunRecord, TestCase
    from jerichoci.state.layout import StateLayout

NAMED_TESTS = 20
"""Failed tests of a job that are named."""


def parts(state: StateLayout, runs: Sequence[RunRecord]) -> Iterator[str]:
    """The parts of a summary, in order."""
    bad = [run for run in runs if run.status not in {Status.PASSED, Status.SKIPPED}]
    if len(runs) > 1:
        verdict = f"{len(bad)} of {len(runs)} targets did not pass" if bad else "all targets passed"
        yield f"### pikaci: {verdict}"
        rows = [[_code(run.target_id), _result(run), _took(run), _passed(run)] for run in runs]
        yield markdown.table(["Target", "Result", "Time", "Jobs"], rows)
    for run in bad or runs[: 1 if len(runs) == 1 else 0]:
        yield from _run(state, run)


def _run(state: StateLayout, run: RunRecord) -> Iterator[str]:
    yield f"### {_code(run.target_id)} {_result(run)} in {_took(run)}"
    if run.message:
        yield markdown.text(run.message)
    yield from _hint(run)
    rows = [[_code(job.id), _result(job), _took(job), _tests(job)] for job in run.jobs]
    yield markdown.table(["Job", "Result", "Time", "Tests"], rows)
    for timing in run.prepare_timings:
        if timing.outcome == Outcome.FAILED:
            name = prepare_name(timing.node_id, timing.prepare_id)
            yield from _output(f"prepare {name}", _of_prepare(state, run, name))
    for job in run.jobs:
        if job.status is Status.FAILED:
            yield from _failed(state, run, job)
    tree = f", tree {_code(run.snapshot_id[:12])}" if run.snapshot_id else ""
    yield f"Run {_code(run.run_id)}{tree}. Again: {_code(f'pikaci run {run.target_id}')}"


def _failed(state: StateLayout, run: RunRecord, job: JobRecord) -> Iterator[str]:
    yield f"#### Job {_code(job.id)}"
    yield markdown.text(words.job_end(job))
    yield from _hint(job)
    if job.tests and job.tests.failures:
        named = job.tests.failures[:NAMED_TESTS]
        left = job.tests.failed + job.tests.errors - len(named)
        more = [f"- {left} more"] if left > 0 else []
        yield "\n".join([*map(_test, named), *more])
    yield from _output(f"job {job.id}", words.failure_tail(state, run.run_id, job))


def _hint(of: RunRecord | JobRecord) -> Iterator[str]:
    if of.cause and of.cause.hint:
        yield markdown.text(of.cause.hint)


def _test(case: TestCase) -> str:
    name = f"{case.suite}: {case.name}" if case.suite else case.name
    place = f"{case.file}:{case.line}" if case.file and case.line else case.file or ""
    why = (case.message or "").strip().splitlines()[:1]
    said = [f"**{markdown.text(name)}**", markdown.text(place), *map(markdown.text, why)]
    return f"- {', '.join(filter(None, said))}"


def _output(of: str, lines: Iterable[str]) -> Iterator[str]:
    if said := list(lines):
        yield (
            f"<details><summary>What {of} printed</summary>\n\n{markdown.block(said)}\n\n</details>"
        )


def _of_prepare(state: StateLayout, run: RunRecord, name: str) -> list[str]:
    """What a prepare printed, which is in the logs of one of the jobs that need it."""
    logs = ((job.id, state.run(run.run_id).attempt(job.id, 1)) for job in run.jobs)
    said = (list(excerpt(directory, job_id, name)) for job_id, directory in logs)
    return next(filter(None, said), [])


def _result(of: RunRecord | JobRecord) -> str:
    kind = f" ({of.failure_kind})" if of.failure_kind else ""
    is_good = of.status in {Status.PASSED, Status.SKIPPED}
    return str(of.status) if is_good else f"**{of.status}**{kind}"


def _passed(run: RunRecord) -> str:
    passed = sum(job.status is Status.PASSED for job in run.jobs)
    return f"{passed} of {len(run.jobs)} passed"


def _tests(job: JobRecord) -> str:
    if job.tests is None or not job.tests.total:
        return ""
    bad = job.tests.failed + job.tests.errors
    return f"{bad} of {job.tests.total} failed" if bad else f"{job.tests.total} passed"


def _took(of: RunRecord | JobRecord) -> str:
    began = of.started_at if isinstance(of, JobRecord) else of.created_at
    return words.between(began, of.finished_at)


def _code(identifier: str) -> str:
    return f"`{identifier}`"
