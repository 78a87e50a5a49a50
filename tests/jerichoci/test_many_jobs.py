"""What a run costs that has many jobs: each change of a job as much as that job, and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.machine import slots
from jerichoci.machine.slots import Capacity, Resources, holding
from jerichoci.record.event import JobFinished, JobStarted, PrepareFinished, PrepareStarted
from jerichoci.record.record import AttemptRecord
from jerichoci.record.store import RunStore
from jerichoci.state import atomic
from jerichoci.status import Outcome, Status
from plans import RUN_ID, commanded, job, plan
from records import record, writing

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.record.event import EventBase
    from jerichoci.state.layout import StateLayout
    from runner import Runner

MANY = 20


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The name and size of each record that is written."""
    found: list[tuple[str, int]] = []
    write = atomic.write_bytes

    def note(path: Path, data: bytes, *, durable: bool = True) -> None:
        found.append((path.name, len(data)))
        write(path, data, durable=durable)

    monkeypatch.setattr(atomic, "write_bytes", note)
    return found


class Looking:
    """A sink that looks at the records whenever a job begins or ends."""

    def __init__(self, state: StateLayout) -> None:
        self._store = RunStore(state.root)
        self.wrong: list[str] = []

    def emit(self, event: EventBase) -> None:
        match event:
            case JobStarted(job_id=name):
                self._see(name, Status.RUNNING, 1)
            case JobFinished(job=ended):
                self._see(ended.id, ended.status, ended.attempt)

    def _see(self, name: str, status: Status, attempt: int) -> None:
        shown = {row.id: (row.status, row.attempt) for row in self._store.summary(RUN_ID).jobs}
        loaded = {row.id: row for row in self._store.load_run_record(RUN_ID).jobs}
        if (shown[name], loaded[name].status) != ((status, attempt), status):
            self.wrong.append(f"{name}: {shown[name]}, {loaded[name]}")


async def test_while_jobs_run_nothing_larger_than_a_job_is_written(
    runner: Runner, written: list[tuple[str, int]]
) -> None:
    names = [f"j{number}" for number in range(MANY)]
    prepare = commanded("dep", "touch out")
    ended = await runner.run(prepare, *(job(name, needs=["dep"]) for name in names))
    assert ended.record.status is Status.PASSED
    records = [size for name, size in written if name.startswith("run.json")]
    # The first has its name later; the last is written when all jobs are over.
    assert len(records) == 2
    each = [size for name, size in written if name == "status.json"]
    assert len(each) == 2 * MANY
    assert max(each) < max(records) / MANY * 3


async def test_a_reader_sees_each_job_as_it_stands(runner: Runner) -> None:
    looking = Looking(runner.state)
    jobs = [job("good"), job("bad", "exit 1"), job("after", after=["bad"])]
    await runner.run(*jobs, sinks=[looking], run_id=RUN_ID)
    assert looking.wrong == []


def test_a_reader_sees_what_was_prepared_so_far(layout: StateLayout) -> None:
    with writing(layout, plan(commanded("a", "true"), commanded("b", "true"), job("j"))) as writer:
        for name in ("a", "b"):
            writer.emit(PrepareStarted(node_id=name))
        end: Any = {"outcome": Outcome.PASSED, "cached": True, "duration_ms": 7}
        writer.emit(PrepareFinished(node_id="a", **end))
        first, second = RunStore(layout.root).load_run_record(RUN_ID).prepare_timings
        assert (first.outcome, first.cached, first.duration_ms) == ("passed", True, 7)
        assert (second.outcome, second.finished_at) == ("started", None)


@pytest.mark.parametrize("damage", ["", "null", "[]", '{"id": "other"}', '{"id": ' * 9999])
def test_a_job_whose_own_record_is_damaged_is_as_it_began(layout: StateLayout, damage: str) -> None:
    with writing(layout) as writer:
        attempt = AttemptRecord(
            number=1, status=Status.RUNNING, host_log_path="h", guest_log_path="g", started_at="t"
        )
        writer.update_job(writer.job("greet").after(attempt))
        writer.layout.status("greet").write_text(damage)
        (row,) = RunStore(layout.root).load_run_record(RUN_ID).jobs
        assert (row.status, row.attempt) == (Status.RUNNING, 0)
        writer.finish(writer.record.with_(status=Status.PASSED))
    assert record(writer.layout)["jobs"][0]["attempt"] == 1


async def test_one_looks_for_all_who_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Capacity(cpus=1, memory_mib=1000)
    read = slots._live_claim
    looks = []

    def note(path: Path) -> slots.Claim | None:
        looks.append(path)
        return read(path)

    # Who lets go says so: the others need not look again and again.
    monkeypatch.setattr(slots, "POLL_SECS", 3600.0)
    monkeypatch.setattr(slots, "_live_claim", note)
    order: list[int] = []

    async def work(number: int) -> None:
        async with holding(tmp_path, one, Resources()):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(MANY)))
    assert order == list(range(MANY))
    assert len(looks) <= 2 * MANY


async def test_a_small_job_need_not_wait_behind_a_large_one(tmp_path: Path) -> None:
    two = Capacity(cpus=2, memory_mib=1000)
    async with holding(tmp_path, two, Resources(cpus=1)):
        large = asyncio.create_task(holding(tmp_path, two, Resources(cpus=2)).__aenter__())
        await asyncio.sleep(0)
        async with asyncio.timeout(60), holding(tmp_path, two, Resources(cpus=1)):
            assert not large.done()
        large.cancel()
        await asyncio.wait({large})
