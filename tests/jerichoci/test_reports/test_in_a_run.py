"""Test reports that jobs leave, in the records of their runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jerichoci.plan.plan import Retries
from jerichoci.record.record import JobRecord, RunRecord, TestCase, TestSummary
from jerichoci.record.rundir import RunWriter
from jerichoci.record.store import RunStore
from jerichoci.status import FailureKind, Status
from plans import job
from records import writing

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout
    from runner import Ended, Runner

FAILING = "\n".join(
    [
        "<testsuite name='s'>",
        *(f"<testcase name='test_{n}'><failure message='no'/></testcase>" for n in range(7)),
        *(f"<testcase name='good_{n}' time='0.5'/>" for n in range(643)),
        "</testsuite>",
    ]
)
SENTENCE = "7 of 650 tests failed: test_0, test_1, test_2, test_3, test_4, ..."
ENTITY = (
    '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    "<testsuite><testcase name='&e;'/></testsuite>"
)


def leave(text: str, name: str = "report.xml") -> str:
    """A command that leaves a report."""
    return f"cat > $PIKACI_ARTIFACTS/{name} <<'END'\n{text}\nEND\n"


async def test_a_failed_job_says_which_tests_failed(runner: Runner) -> None:
    run = await runner.run(job("unit", leave(FAILING) + "exit 3"))
    unit = run.job("unit")
    assert unit.message == SENTENCE
    assert run.record.message == SENTENCE
    assert unit.cause is not None
    assert unit.cause.message == SENTENCE
    assert (unit.failure_kind, unit.exit_code) == (FailureKind.TEST_FAILURE, 3)
    assert unit.tests is not None
    assert (unit.tests.total, unit.tests.failed, unit.tests.passed) == (650, 7, 643)
    assert unit.tests.duration_ms == 643 * 500
    assert unit.attempts[0].tests == unit.tests
    lines = (run.layout.attempt("unit", 1) / "tests.jsonl").read_text().splitlines()
    assert len(lines) == 650
    assert json.loads(lines[0])["name"] == "test_0"
    assert RunStore(runner.state.root).load_run_record(run.record.run_id) == run.record


async def test_the_exit_code_decides_not_the_report(runner: Runner) -> None:
    good = FAILING.replace("<failure message='no'/>", "")
    run = await runner.run(
        job("passes", leave(FAILING)),
        job("fails", leave(good) + "exit 1"),
        job("late", leave(FAILING) + "sleep 60", timeout_secs=1),
    )
    passes, fails, late = run.job("passes"), run.job("fails"), run.job("late")
    assert (passes.status, passes.message) == (Status.PASSED, f"exit code 0, but {SENTENCE}")
    assert (passes.tests is not None, passes.failure_kind) == (True, None)
    assert fails.status is Status.FAILED
    assert (fails.message or "").startswith("job fails exited with 1")
    assert fails.tests is not None
    assert fails.tests.in_words() == "650 tests passed"
    assert late.failure_kind is FailureKind.TIMEOUT
    assert (late.message or "").startswith("job late timed out")
    assert late.tests is not None


async def test_an_external_entity_is_refused_with_a_sentence(runner: Runner) -> None:
    good = leave("1..1\nok 1 - fine", "sub/good.tap")
    run = await runner.run(job("unit", f"mkdir $PIKACI_ARTIFACTS/sub; {good}" + leave(ENTITY)))
    unit = run.job("unit")
    why = "it has a document type (DTD), which could declare entities and name other files"
    assert unit.status is Status.PASSED
    assert unit.notes == [f"test report report.xml: {why}"]
    assert unit.tests is not None
    assert unit.tests.total == 1
    assert [(row.path, row.format, row.unreadable) for row in unit.tests.reports] == [
        ("report.xml", "junit", why),
        ("sub/good.tap", "tap", None),
    ]


async def test_each_attempt_has_its_tests(runner: Runner) -> None:
    first = f"case $PIKACI_ARTIFACTS in */attempts/1/*)\n{leave(FAILING)}exit 1;; esac\n"
    once = first + leave("<testsuite/>")
    retries = Retries(test=1)
    run = await runner.run(job("unit", once, retries=retries))
    unit = run.job("unit")
    assert [row.tests and row.tests.failed for row in unit.attempts] == [7, 0]
    assert unit.tests is not None
    assert (unit.status, unit.tests.total, unit.message) == (Status.PASSED, 0, None)


async def test_what_a_full_disk_has_no_room_for_is_left_out(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunWriter, "make_room", lambda *_: False)
    run = await runner.run(job("unit", leave(FAILING)))
    unit = run.job("unit")
    assert (unit.status, unit.tests) == (Status.PASSED, None)
    assert unit.notes == ["the tests are not in the record: no space left on the disk"]


def test_room_is_kept_for_the_tests_in_the_last_records(layout: StateLayout) -> None:
    with writing(layout) as writer:
        before = writer.layout.reserve.stat().st_size
        tests = TestSummary(failures=[TestCase(name="n" * 1000, status="failed")])
        assert writer.make_room(tests)
        assert writer.layout.reserve.stat().st_size > before + 6 * 1000


async def test_artifacts_that_are_no_reports_leave_no_tests(runner: Runner) -> None:
    run = await runner.run(job("unit", leave("<coverage/>")))
    assert run.job("unit").tests is None
    assert not (run.layout.attempt("unit", 1) / "tests.jsonl").exists()


@pytest.fixture
async def ended(runner: Runner) -> Ended:
    return await runner.run(job("unit", leave(FAILING) + "exit 1"))


def test_records_of_earlier_versions_have_no_tests(ended: Ended) -> None:
    values = json.loads(ended.layout.record.read_text())
    for row in (values["jobs"][0], *values["jobs"][0]["attempts"]):
        del row["tests"]
    record = RunRecord.model_validate(values)
    assert record.jobs[0].tests is None
    assert record.jobs[0] == JobRecord.model_validate(values["jobs"][0])
