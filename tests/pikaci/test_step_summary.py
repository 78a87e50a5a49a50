"""The Markdown of a step summary, and its file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from jerichoci.record.event import RunFinished, RunStarted
from jerichoci.record.record import Cause, TestCase, TestSummary
from jerichoci.state.layout import StateLayout
from jerichoci.status import FailureKind, Status
from pikaci.render.ci import markdown, step_summary
from pikaci.render.ci.step_summary import MOST_BYTES, StepSummary, fitting, path_of
from pikaci.screen import shown
from plans import RUN_ID, job, plan
from records import first_record

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.record.record import RunRecord

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
GOLDEN = """\
### `target` **failed** (test_failure) in 2.0 s

job unit exited with 1

| Job | Result | Time | Tests |
| --- | --- | --- | --- |
| `lint` | passed | 1.0 s |  |
| `unit` | **failed** (test_failure) | 2.0 s | 3 of 7 failed |

#### Job `unit`

failed: 3 of 7 tests failed: &#60;b&#62;, ...

look &#124; there

- **unit: a&#95;b**, tests/a.py:3, assert &#42;x&#42; == &#91;y&#93;(z)
- **&#60;img src=x&#62;**
- 1 more

<details><summary>What job unit printed</summary>

<pre>
| one
&lt;/pre&gt; &amp;amp; `two`
</pre>

</details>

Run `20260131T235959Z-0123abcd`, tree `4b825dc642cb`. Again: `pikaci run target`

"""


def failed_run(state: StateLayout) -> RunRecord:
    run = first_record(state, plan(job("lint"), job("unit")))
    start = "2026-01-31T23:59:59.000Z"
    failed = {"status": Status.FAILED, "failure_kind": FailureKind.TEST_FAILURE}
    cause = Cause(code="command_failed", message="no", hint="look | there")
    cases = [
        TestCase(
            name="a_b",
            suite="unit",
            status="failed",
            file="tests/a.py",
            line=3,
            message="assert *x* == [y](z)\nmore",
        ),
        TestCase(name="<img src=x>", status="error"),
    ]
    tests = TestSummary(total=7, passed=4, failed=2, errors=1, failures=cases)
    lint, unit = (row.with_(started_at=start, attempt=1) for row in run.jobs)
    log = state.run(RUN_ID).attempt("unit", 1) / "host.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("pikaci> prepare_directories passed (0 ms)\n| one\n</pre> &amp; `two`\n")
    return run.with_(
        **failed,
        message="job unit exited with 1",
        finished_at="2026-02-01T00:00:01.000Z",
        jobs=[
            lint.with_(status=Status.PASSED, finished_at="2026-02-01T00:00:00.000Z"),
            unit.with_(
                **failed,
                cause=cause,
                tests=tests,
                message="3 of 7 tests failed: <b>, ...",
                finished_at="2026-02-01T00:00:01.000Z",
                host_log_path=state.run(RUN_ID).relative(log),
            ),
        ],
    )


def write(state: StateLayout, path: Path, *runs: RunRecord) -> None:
    summary = StepSummary(state, str(path))
    for run in runs:
        summary.emit(RunStarted(run=run.with_(status=Status.RUNNING)))
    for run in reversed(runs):
        summary.emit(RunFinished(run=run))
    summary.close()


def test_a_failed_run_is_told_with_its_cause_before_its_log(tmp_path: Path) -> None:
    state = StateLayout(tmp_path / "state")
    write(state, tmp_path / "summary.md", failed_run(state))
    assert (tmp_path / "summary.md").read_text() == GOLDEN


def test_a_batch_has_a_table_of_its_targets_first(tmp_path: Path) -> None:
    state = StateLayout(tmp_path / "state")
    failed = failed_run(state)
    passed = first_record(state, run_id="20260131T235958Z-0123abcd").with_(
        status=Status.PASSED, target_id="other"
    )
    write(state, tmp_path / "summary.md", passed, failed)
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith(
        "### pikaci: 1 of 2 targets did not pass\n\n"
        "| Target | Result | Time | Jobs |\n| --- | --- | --- | --- |\n"
        "| `other` | passed |  | 0 of 1 passed |\n"
        "| `target` | **failed** (test_failure) | 2.0 s | 1 of 2 passed |\n\n"
    )
    assert text.endswith(GOLDEN)


def test_what_other_steps_wrote_stays(tmp_path: Path) -> None:
    state, file = StateLayout(tmp_path / "state"), tmp_path / "summary.md"
    file.write_text("of another step\n")
    write(state, file, failed_run(state))
    assert file.read_text() == "of another step\n\n" + GOLDEN


def test_a_summary_stays_below_the_limit_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, file = StateLayout(tmp_path / "state"), tmp_path / "summary.md"
    file.write_text("x" * (MOST_BYTES - 1200))
    write(state, file, failed_run(state))
    assert file.stat().st_size < MOST_BYTES
    assert file.read_text().endswith("The summary is full: 7 more parts are left out.\n")
    monkeypatch.setattr(step_summary, "MOST_BYTES", 0)
    write(state, tmp_path / "none.md", failed_run(state))
    assert (tmp_path / "none.md").read_text().startswith("The summary is full: ")


@pytest.mark.parametrize("name", ["missing/summary.md", ".", "fifo"])
def test_a_file_that_cant_be_written_is_one_sentence(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    state = StateLayout(tmp_path / "state")
    write(state, tmp_path / name, failed_run(state))
    (sentence,) = capfd.readouterr().err.splitlines()
    assert sentence.startswith("pikaci: could not write the step summary to ")


def test_the_file_is_the_one_that_the_server_names() -> None:
    assert path_of({}) is None
    assert path_of({"GITHUB_STEP_SUMMARY": "a"}) == "a"
    assert path_of({"GITHUB_STEP_SUMMARY": "a", "FORGEJO_STEP_SUMMARY": ""}) == "a"
    assert path_of({"GITHUB_STEP_SUMMARY": "a", "GITEA_STEP_SUMMARY": "b"}) == "b"


@given(st.lists(st.text(max_size=40)), st.integers(0, 200))
def test_parts_are_whole_or_left_out(texts: list[str], room: int) -> None:
    data = fitting(texts, room)
    kept = re.sub(rb"The summary is full: \d+ more parts are left out\.\n\Z", b"", data)
    assert len(kept) <= room or not texts
    assert b"".join(f"{text}\n\n".encode("utf-8", "replace") for text in texts).startswith(kept)


TEXTS = st.text(
    max_size=30, alphabet=st.sampled_from("ab1w. \t\\`*_[]()<>#!|&;~@$:/-+=\"'{}^\x1b\x00é")
)


@given(TEXTS)
@example("# a")
@example("1. a")
@example("12) a")
@example("- a")
@example("=")
@example("<script>x</script>")
@example("[a](http://x) ![b](y) <http://z>")
@example("&lt;b&gt; &#60;")
@example("***a*** `b` ~~c~~")
def test_a_jobs_text_is_shown_as_it_is(words: str) -> None:
    text = markdown.text(words)
    for place in ("{}", "| a | {} |\n| --- | --- |\n| b | {} |", "- **x**, {}"):
        with_text = MARKDOWN.render(place.replace("{}", text or "word"))
        assert tags(with_text) == tags(MARKDOWN.render(place.replace("{}", "word")))
    if text:
        (paragraph,) = MARKDOWN.parse(text)[1:2]
        said = "".join(child.content for child in paragraph.children or [])
        assert said.split() == " ".join(map(shown, words.splitlines())).split()


def tags(page: str) -> list[str]:
    return re.findall(r"<(/?\w+)", page)


@given(TEXTS)
@example("</pre><b>")
def test_a_jobs_lines_stay_in_their_block(words: str) -> None:
    assert tags(MARKDOWN.render(markdown.block([words, "", "end"]))) == ["pre", "/pre"]
