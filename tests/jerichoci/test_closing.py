from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from disk import fill
from jerichoci.cleanup import dead_runs
from jerichoci.cleanup.dead_runs import close_dead_run, close_dead_runs
from jerichoci.errors import UsageError
from jerichoci.machine.process import record_group
from jerichoci.record.dead import HINT
from jerichoci.record.event import PrepareStarted
from jerichoci.record.record import AttemptRecord
from jerichoci.record.store import RunStore
from jerichoci.state.layout import RunLayout, StateLayout
from jerichoci.state.owner import owning
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, job, plan
from records import append_event, change, check_events, dead, finished, record, run_ids, writing

if TYPE_CHECKING:
    from pathlib import Path


ATTEMPT = AttemptRecord(
    number=1, status=Status.RUNNING, host_log_path="h", guest_log_path="g", started_at="t"
)


def contents(run: RunLayout) -> dict[Path, tuple[int, bytes]]:
    files = [path for path in run.root.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_reader_shows_a_dead_run_as_it_will_be_closed_and_writes_nothing(
    layout: StateLayout,
) -> None:
    with writing(layout, plan(job("a"), job("b"))) as writer:
        writer.update_job(writer.record.jobs[0].after(ATTEMPT))
        writer.emit(PrepareStarted(node_id="dep"))
    run, store = writer.layout, RunStore(layout.root)
    with run.events.open("a") as file:
        file.write('{"seq":2,"ev')
    before = contents(run)
    (row,) = store.list_runs()
    assert (row.status, row.failure_kind, row.hint) == ("failed", "infrastructure", HINT)
    assert [job.status for job in row.jobs] == ["failed", "skipped"]
    assert (store.is_running(RUN_ID), store.is_over(RUN_ID)) == (False, True)
    shown = store.record_values(RUN_ID)
    kinds = [event["event"] for event in store.follow_events(RUN_ID)]
    assert kinds == ["run_started", "prepare_started"]
    assert contents(run) == before
    assert close_dead_runs(layout) == [RUN_ID]
    assert without_times(store.record_values(RUN_ID)) == without_times(shown)
    check_events(run)


def without_times(values: object) -> object:
    if isinstance(values, list):
        return [without_times(value) for value in values]
    if isinstance(values, dict):
        return {key: without_times(values[key]) for key in values if key != "finished_at"}
    return values


def test_a_closed_run_is_infrastructure_and_its_jobs_that_ended_keep_what_they_had(
    layout: StateLayout,
) -> None:
    with writing(layout, plan(job("a"), job("b"), job("c"))) as writer:
        first, second, third = writer.record.jobs
        failure = {"status": Status.FAILED, "failure_kind": FailureKind.TIMEOUT}
        writer.update_job(first.after(ATTEMPT))
        writer.update_job(second.with_(status=Status.PASSED))
        writer.update_job(third.with_(**failure))
        writer.emit(PrepareStarted(node_id="dep"))
    close_dead_run(writer.layout)
    closed = RunStore(layout.root).load_run_record(RUN_ID)
    assert closed.failure_kind is FailureKind.INFRASTRUCTURE
    assert [(row.status, row.failure_kind) for row in closed.jobs] == [
        (Status.FAILED, FailureKind.INFRASTRUCTURE),
        (Status.PASSED, None),
        (Status.FAILED, FailureKind.TIMEOUT),
    ]
    assert closed.jobs[0].attempts[0].status is Status.FAILED
    assert closed.prepare_timings[0].outcome == "failed"
    status = json.loads(writer.layout.status("a").read_bytes())
    assert (status["status"], status["failure_kind"]) == ("failed", "infrastructure")


def test_a_closed_run_has_all_that_its_jobs_left_and_nothing_half_written(
    layout: StateLayout,
) -> None:
    run = dead(layout)
    with run.events.open("ab") as file:
        file.write(b'{"seq":1,"event":"heart')
    (run.scratch / "greet-1/workspace").mkdir(parents=True)
    (run.root / "run.json.tmp-0").write_text("{")
    files = run.attempt("greet", 1) / "artifacts/files"
    files.mkdir(parents=True)
    (run.job("greet") / "status.json.tmp-0").write_text("{")
    (files / "page.tmp-1").write_text("x")
    close_dead_run(run)
    assert [row["event"] for row in check_events(run)] == ["run_started", "run_finished"]
    left = {path.relative_to(run.root).as_posix() for path in run.root.rglob("*")}
    greet = "jobs/greet/attempts/1/artifacts/files/page.tmp-1"
    assert {name for name in left if not greet.startswith(name)} == {
        *("events.jsonl", "gcroots", "jobs/greet/status.json"),
        *("owner.lock", "plan.json", "run.json"),
    }
    assert greet in left


def test_a_run_that_goes_on_or_is_over_is_not_closed(layout: StateLayout) -> None:
    with writing(layout) as writer:
        assert close_dead_runs(layout) == []
        assert RunStore(layout.root).summary(RUN_ID).status == "running"
        assert writer.layout.reserve.exists()
        writer.finish(writer.record.with_(status=Status.PASSED))
    run = writer.layout
    before = run.record.read_bytes(), run.events.read_bytes()
    assert not close_dead_run(run)
    assert (run.record.read_bytes(), run.events.read_bytes()) == before


def test_the_end_in_the_events_wins_over_a_record_that_says_running(layout: StateLayout) -> None:
    run = dead(layout)
    jobs = [row | {"status": "passed"} for row in record(run)["jobs"]]
    end = record(run) | {"status": "passed", "message": "by its owner", "jobs": jobs}
    append_event(run, event="run_finished", run=end)
    assert RunStore(layout.root).record_values(RUN_ID) == end
    close_dead_run(run)
    assert record(run) == end
    assert json.loads(run.status("greet").read_bytes())["status"] == "passed"
    check_events(run)


def test_two_readers_at_once_write_one_end(layout: StateLayout) -> None:
    runs = [dead(layout, run_id=run_id) for run_id in run_ids(20)]
    with ThreadPoolExecutor(4) as readers:
        lists = list(readers.map(lambda _: close_dead_runs(layout), range(4)))
    assert sorted(sum(lists, [])) == [run.run_id for run in runs]  # noqa: RUF017 - four short lists
    for run in runs:
        check_events(run)


@pytest.mark.parametrize(
    "damage",
    [
        {"jobs": None},
        {"jobs": [1, None]},
        {"jobs": [{"status": "running"}]},
        {"jobs": [{"id": "../../evil", "status": "running"}]},
        {"jobs": [{"id": "greet", "status": "running", "attempts": 3}]},
        {"prepare_timings": 3},
        {"prepare_timings": [1]},
    ],
)
def test_a_dead_run_with_a_damaged_field_is_closed_all_the_same(
    layout: StateLayout, damage: dict[str, object]
) -> None:
    run = dead(layout)
    change(run.record, **damage)
    assert close_dead_runs(layout) == [RUN_ID]
    assert RunStore(layout.root).summary(RUN_ID).status == "failed"
    assert not (layout.root.parent / "evil").exists()
    check_events(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_dead_run_whose_record_is_lost_stops_nobody(layout: StateLayout, text: str) -> None:
    first, second = (dead(layout, run_id=run_id) for run_id in run_ids(2))
    first.record.write_text(text)
    assert close_dead_runs(layout) == [second.run_id]
    assert RunStore(layout.root).summary(first.run_id).unreadable


@pytest.mark.parametrize("line", ['{"seq":1}', '{"seq":1,"event":"run_finished"}', "null", "x"])
def test_a_dead_run_with_a_damaged_last_event_is_closed(layout: StateLayout, line: str) -> None:
    run = dead(layout)
    with run.events.open("a") as file:
        file.write(f"{line}\n")
    assert close_dead_runs(layout) == [RUN_ID]
    assert record(run)["status"] == "failed"


def test_a_dead_run_is_closed_on_a_full_disk(small_disk: Path) -> None:
    state = StateLayout(small_disk / "state")
    run = dead(state)
    fill(small_disk)
    assert close_dead_runs(state) == [RUN_ID]
    assert record(run)["status"] == "failed"
    check_events(run)


def test_a_run_that_died_while_it_was_born_is_removed_and_its_id_free(layout: StateLayout) -> None:
    for name in (f"{RUN_ID}.new/jobs", f"{RUN_ID}.gone/jobs"):
        (layout.runs / name).mkdir(parents=True)
    close_dead_runs(layout)
    assert list(layout.runs.iterdir()) == []
    (layout.runs / f"{RUN_ID}.new/jobs").mkdir(parents=True)
    finished(layout)
    assert [path.name for path in layout.runs.iterdir()] == [RUN_ID]


def test_a_run_that_is_being_born_is_left_alone_and_its_id_taken(layout: StateLayout) -> None:
    unborn = layout.runs / f"{RUN_ID}.new"
    unborn.mkdir()
    with owning(unborn):
        close_dead_runs(layout)
        assert unborn.exists()
        with pytest.raises(UsageError, match="being started"):
            finished(layout)


@pytest.mark.parametrize("is_its_own", [True, False])
def test_the_process_group_of_a_dead_run_is_killed_but_no_later_one_of_its_number(
    layout: StateLayout, *, is_its_own: bool
) -> None:
    run = dead(layout)
    (run.scratch / "greet-1").mkdir()
    process = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
    try:
        record_group(run.scratch / "greet-1", process.pid)
        if not is_its_own:
            change(run.scratch / "greet-1/group.json", started="1")
        close_dead_run(run)
        if is_its_own:
            assert process.wait(timeout=30) == -9
        assert is_its_own or process.poll() is None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_damaged_note_of_a_group_stops_nothing(layout: StateLayout) -> None:
    run = dead(layout)
    (run.scratch / "greet-1").mkdir()
    (run.scratch / "greet-1/group.json").write_text("[]")
    assert close_dead_run(run)


def test_a_run_whose_leftovers_can_not_be_removed_is_closed_all_the_same(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = dead(layout)
    (layout.runs / f"{RUN_ID}.gone").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(1, f"{path.name} refuses")

    with monkeypatch.context() as patch:
        patch.setattr(dead_runs, "remove_tree", refuse)
        assert close_dead_runs(layout) == [RUN_ID]
    assert f"{RUN_ID}.gone refuses" in caplog.text
    assert record(run)["status"] == "failed"
    assert run.scratch.exists()
    assert close_dead_runs(layout) == []
    assert not run.scratch.exists()
    check_events(run)


def test_runs_start_while_others_reap(layout: StateLayout) -> None:
    ids = list(run_ids(40))
    with ThreadPoolExecutor(3) as threads:
        reaping = [
            threads.submit(lambda: [close_dead_runs(layout) for _ in range(40)]) for _ in "ab"
        ]
        for run_id in ids:
            finished(layout, run_id)
        assert [sum(job.result(), []) for job in reaping] == [[], []]  # noqa: RUF017 - short lists
    assert RunStore(layout.root).run_ids() == ids[::-1]
