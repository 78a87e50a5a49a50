"""`--junit`, whatever the names, messages and logs of jobs are."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.record.event import RunFinished, RunStarted
from jerichoci.record.record import Cause, JobRecord, RunRecord, TestCase, TestSummary
from jerichoci.status import CauseCode, FailureKind, Status
from pikaci.render.junit import JunitFile, junit_xml, write_junit
from plans import RUN_ID, job, plan
from records import first_record

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from jerichoci.state.layout import StateLayout

TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)
LEGAL = {*range(0x20, 0xD800), *range(0xE000, 0xFFFE), 9, 10, *range(0x10000, 0x110000)}


def ended(state: StateLayout, **of_job: object) -> RunRecord:
    """A run whose only job failed."""
    record = first_record(state, plan(job("greet")))
    cause = Cause(code=CauseCode.COMMAND_FAILED, message="no", hint="look")
    values = {"status": Status.FAILED, "failure_kind": FailureKind.TEST_FAILURE, "cause": cause}
    jobs = [row.with_(**{**values, "attempt": 1, **of_job}) for row in record.jobs]
    return record.with_(status=Status.FAILED, jobs=jobs)


@settings(max_examples=60, deadline=None)
@given(message=TEXTS, name=TEXTS, suite=TEXTS, log=st.binary(max_size=300))
def test_any_text_is_read_back_as_xml(
    tmp_path_factory: pytest.TempPathFactory, message: str, name: str, suite: str, log: bytes
) -> None:
    from jerichoci.state.layout import StateLayout

    state = StateLayout(tmp_path_factory.mktemp("state"))
    path = state.run(RUN_ID).attempt("greet", 1) / "guest.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(log)
    failures = [TestCase(name=name, suite=suite, status="failed", message=message)]
    tests = TestSummary(total=1, failed=1, failures=failures)
    run = ended(state, message=message, tests=tests, notes=[name])
    root = ET.fromstring(junit_xml([(run, state.run(RUN_ID))]))  # noqa: S314 - our own
    texts = [text for row in root.iter() for text in (row.text or "", *row.attrib.values())]
    assert all({ord(char) for char in text} <= LEGAL for text in texts)
    assert not any("\x1b" in text for text in texts)
    assert [row.tag for row in root.iter("testcase")] == ["testcase"]
    failure = root.find(".//failure")
    assert failure is not None
    if message and message.isprintable():
        assert failure.get("message") == message


def test_a_run_that_broke_without_a_failed_job_is_no_success(layout: StateLayout) -> None:
    run = ended(layout, status=Status.CANCELLED, failure_kind=None).with_(message="disk full")
    root = ET.fromstring(junit_xml([(run, layout.run(RUN_ID))]))  # noqa: S314
    found = {case.get("name"): [row.tag for row in case] for case in root.iter("testcase")}
    assert found == {"greet": ["error", "system-out"], "(run)": ["error"]}


def test_a_log_that_is_a_link_is_not_followed(layout: StateLayout, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret\n")
    log = layout.run(RUN_ID).attempt("greet", 1) / "guest.log"
    log.parent.mkdir(parents=True)
    log.symlink_to(tmp_path / "secret")
    log.with_name("host.log").write_text("pikaci> prepare_directories passed (0 ms)\nit said\n")
    text = junit_xml([(ended(layout), layout.run(RUN_ID))])
    assert b"it said" in text
    assert b"the secret" not in text


def test_whatever_goes_wrong_is_a_sentence(
    layout: StateLayout, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_junit(tmp_path / "out.xml", [(ended(layout, tests="no tests"), layout.run(RUN_ID))])
    assert capfd.readouterr().err.startswith(f"pikaci: could not write {tmp_path}/out.xml: ")
    assert not list(tmp_path.glob("*.xml*"))


def test_runs_come_in_the_order_in_which_they_began(layout: StateLayout, tmp_path: Path) -> None:
    first = ended(layout).with_(target_id="a")
    second = ended(layout).with_(target_id="b", run_id=RUN_ID.replace("0123", "4567"))
    file = JunitFile(tmp_path / "results.xml", layout)
    for event in (
        *(RunStarted(run=first), RunStarted(run=second)),
        *(RunFinished(run=second), RunFinished(run=first)),
    ):
        file.emit(event)
    file.close()
    suites = ET.parse(tmp_path / "results.xml").getroot()  # noqa: S314
    assert [suite.get("name") for suite in suites] == ["a", "b"]


def test_a_run_that_never_ended_leaves_no_file(layout: StateLayout, tmp_path: Path) -> None:
    file = JunitFile(tmp_path / "results.xml", layout)
    file.emit(RunStarted(run=first_record(layout)))
    file.close()
    assert not (tmp_path / "results.xml").exists()


def test_a_record_of_an_earlier_version_has_a_case(layout: StateLayout) -> None:
    values = ended(layout).jobs[0].model_dump()
    del values["tests"]
    run = ended(layout).with_(jobs=[JobRecord.model_validate(values)])
    assert b'<failure message="no" type="command_failed">' in junit_xml([(run, layout.run(RUN_ID))])
