from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import RecordError, UsageError
from jerichoci.record.event import Heartbeat
from jerichoci.record.store import RunStore
from jerichoci.status import LogKind, Status
from plans import RUN_ID
from records import change, finished, run_ids, writing

if TYPE_CHECKING:
    from jerichoci.state.layout import RunLayout, StateLayout


@pytest.fixture
def store(layout: StateLayout) -> RunStore:
    return RunStore(layout.root)


@pytest.fixture
def run(layout: StateLayout) -> RunLayout:
    """A run that is over, with logs of its only job."""
    run = finished(layout)
    run.attempt("greet", 1).mkdir(parents=True)
    (run.attempt("greet", 1) / "host.log").write_text("0123456789")
    (run.attempt("greet", 1) / "guest.log").write_text("abcdef")
    return run


def test_runs_are_listed_newest_first(layout: StateLayout, store: RunStore) -> None:
    assert RunStore(layout.root / "gone").list_runs() == []
    with pytest.raises(UsageError, match="there is no run yet"):
        store.resolve("latest")
    made = [finished(layout, run_id).run_id for run_id in run_ids(5)]
    assert [row.run_id for row in store.list_runs()] == made[::-1]
    assert [row.run_id for row in store.list_runs(2)] == made[:-3:-1]
    assert store.resolve("latest") == made[-1]


def test_what_is_no_run_is_not_listed(layout: StateLayout, store: RunStore) -> None:
    (layout.runs / f"{RUN_ID}.new").mkdir()
    (layout.runs / f"{RUN_ID}.gone").mkdir()
    (layout.runs / "notes").mkdir()
    assert store.list_runs() == []


def test_a_beginning_names_a_run_if_it_is_that_of_one(layout: StateLayout, store: RunStore) -> None:
    first, second = (finished(layout, run_id).run_id for run_id in run_ids(2))
    assert store.resolve(second[:-1]) == second
    both = f"{second}, {first}|{first}, {second}"
    with pytest.raises(UsageError, match=f"2 runs start with '2026': {both}"):
        store.resolve("2026")
    with pytest.raises(UsageError, match=f"no run starts with '2027' in {layout.root}"):
        store.resolve("2027")


@pytest.mark.parametrize("text", ["../runs", "/", "", ".", f"{RUN_ID}/../{RUN_ID}", f"{RUN_ID}\n"])
def test_what_no_run_id_starts_with_is_refused(store: RunStore, run: RunLayout, text: str) -> None:
    assert run.root.is_dir()
    with pytest.raises(UsageError, match="not a run id"):
        store.resolve(text)


def test_what_is_loaded_is_what_was_written(store: RunStore, run: RunLayout) -> None:
    record = store.load_run_record(run.run_id)
    assert (record.status, record.problems) == (Status.PASSED, [])
    assert record.model_dump() == json.loads(run.record.read_bytes())
    assert store.load_plan(run.run_id).jobs[0].job_id == "greet"
    assert store.load_prepared_outputs(run.run_id).outputs == []


def test_what_is_not_there_or_of_a_later_schema_is_refused(store: RunStore, run: RunLayout) -> None:
    change(run.plan, schema_version=9)
    with pytest.raises(RecordError, match="has plan schema 9"):
        store.load_plan(run.run_id)
    with pytest.raises(UsageError, match="not a job id"):
        store.load_logs(run.run_id, "../greet", LogKind.HOST)
    with pytest.raises(UsageError, match="there is no run 20270131T000000Z-00000000"):
        store.load_run_bundle("20270131T000000Z-00000000")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", "\xff"])
def test_a_damaged_run_is_unreadable_and_the_others_are_listed(
    layout: StateLayout, store: RunStore, text: str
) -> None:
    first, second, third = (finished(layout, run_id) for run_id in run_ids(3))
    second.record.write_bytes(text.encode("latin-1"))
    rows = store.list_runs()
    assert [bool(row.unreadable) for row in rows] == [False, True, False]
    assert [row.run_id for row in rows] == [third.run_id, second.run_id, first.run_id]


def test_a_run_without_a_record_is_unreadable(store: RunStore, run: RunLayout) -> None:
    run.record.unlink()
    assert store.summary(run.run_id).unreadable == "it has no run.json"
    with pytest.raises(RecordError, match=r"run\.json can't be read: No such file"):
        store.load_run_record(run.run_id)


def test_fields_of_the_wrong_type_count_as_missing_in_the_list(
    store: RunStore, run: RunLayout
) -> None:
    change(run.record, target_id=7, git_dirty="x", jobs=[1, {"id": [], "attempt": True}], cause=[])
    summary = store.summary(run.run_id)
    assert (summary.status, summary.target_id, summary.git_dirty) == ("passed", None, None)
    assert [(job.id, job.attempt) for job in summary.jobs] == [("?", 0)]


def test_a_log_is_read_from_an_offset_to_a_limit(store: RunStore, run: RunLayout) -> None:
    chunk = store.load_logs(run.run_id, "greet", LogKind.HOST, offset=2, limit=3)
    assert (chunk.data, chunk.offset, chunk.next_offset) == (b"234", 2, 5)
    assert store.load_logs(run.run_id, "greet", LogKind.BOTH, 2**70, 2**70).data == b""
    with pytest.raises(UsageError, match="can't be negative"):
        store.load_logs(run.run_id, "greet", LogKind.BOTH, -1)


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_both_logs_are_the_hosts_and_then_the_guests_piece_by_piece(
    store: RunStore, run: RunLayout, limit: int
) -> None:
    found, offset = b"", 0
    while chunk := store.load_logs(run.run_id, "greet", LogKind.BOTH, offset, limit).data:
        assert len(chunk) <= limit
        found, offset = found + chunk, offset + len(chunk)
    assert found == b"0123456789abcdef"


def test_the_log_is_the_last_attempts_unless_said_otherwise(
    store: RunStore, run: RunLayout
) -> None:
    run.attempt("greet", 10).mkdir()
    (run.attempt("greet", 10) / "host.log").write_text("later")
    assert store.load_logs(run.run_id, "greet", LogKind.HOST).data == b"later"
    assert store.log_path(run.run_id, "greet", LogKind.HOST, 1).read_text() == "0123456789"


def test_metadata_tells_which_logs_there_are(store: RunStore, run: RunLayout) -> None:
    (run.attempt("greet", 1) / "guest.log").unlink()
    host, guest = store.load_logs_metadata(run.run_id)
    assert (host.kind, host.exists, host.bytes) == ("host", True, 10)
    assert (guest.kind, guest.exists, guest.bytes) == ("guest", False, 0)


def test_a_bundle_has_every_part_and_names_a_damaged_one(store: RunStore, run: RunLayout) -> None:
    bundle = store.load_run_bundle(run.run_id)
    assert bundle["problems"] == []
    assert bundle["run"]["run_id"] == bundle["plan"]["run_id"] == run.run_id
    assert bundle["prepared_outputs"]["outputs"] == []
    logs = [f"jobs/greet/attempts/1/{kind}.log" for kind in ("host", "guest")]
    assert [row["path"] for row in bundle["logs"]] == logs
    assert json.loads(json.dumps(bundle)) == bundle
    run.plan.write_text("{")
    damaged = store.load_run_bundle(run.run_id)
    assert (damaged["plan"], damaged["run"]) == (None, bundle["run"])
    (problem,) = damaged["problems"]
    assert "plan.json is not JSON" in problem


def test_a_follower_sees_every_event_of_a_run_that_is_over(store: RunStore, run: RunLayout) -> None:
    kinds = [event["event"] for event in store.follow_events(run.run_id)]
    assert kinds == ["run_started", "run_finished"]


async def test_a_follower_waits_for_the_end_of_a_run(layout: StateLayout, store: RunStore) -> None:
    with writing(layout) as writer:
        following = asyncio.create_task(
            asyncio.to_thread(lambda: [row["seq"] for row in store.follow_events(RUN_ID)])
        )
        await asyncio.sleep(0.15)
        writer.emit(Heartbeat(running=[]))
        await asyncio.sleep(0.15)
        assert not following.done()
        writer.finish(writer.record.with_(status=Status.PASSED))
    assert await asyncio.wait_for(following, 30) == [0, 1, 2]


def test_a_follower_of_a_damaged_run_comes_to_an_end(store: RunStore, run: RunLayout) -> None:
    run.events.write_text("")
    assert list(store.follow_events(run.run_id)) == []
    run.record.write_text("{")
    run.events.write_text("null\n")
    assert list(store.follow_events(run.run_id)) == []


def test_a_follower_of_a_run_that_is_removed_comes_to_an_end(
    store: RunStore, run: RunLayout
) -> None:
    following = store.follow_events(run.run_id)
    assert next(following)["event"] == "run_started"
    run.root.rename(run.root.with_suffix(".gone"))
    assert len(list(following)) <= 1
