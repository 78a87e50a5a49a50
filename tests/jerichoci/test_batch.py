"""Runs of one process: what they share, and that none takes another one with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from derivations import derive
from jerichoci.errors import UsageError
from jerichoci.record.event import PrepareStarted
from jerichoci.record.store import RunStore
from jerichoci.status import CauseCode, FailureKind, Status
from plans import RUN_ID, built, job
from runner import BATCH_ID

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode, PrepareNode
    from jerichoci.record.event import EventBase
    from runner import Runner

OTHER_ID = "20260131T235959Z-89abcdef"


class Began:
    """A sink that hears when a run begins to prepare something."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.heard = asyncio.Event()

    def emit(self, event: EventBase) -> None:
        if event.run_id == self._run_id and isinstance(event, PrepareStarted):
            self.heard.set()


async def test_a_run_that_can_not_begin_ends_those_that_have(runner: Runner) -> None:
    await runner.run(job("it"), run_id=RUN_ID)
    with pytest.raises(UsageError, match=f"run {RUN_ID} exists already"):
        await runner.run_batch(
            [job("a", "sleep 60")], [job("b")], [job("c")], run_ids=[OTHER_ID, RUN_ID, None]
        )
    store = RunStore(runner.state.root)
    record = store.load_run_record(OTHER_ID)
    assert (record.status, record.failure_kind) == (Status.FAILED, FailureKind.INFRASTRUCTURE)
    assert "exists already" in (record.message or "")
    assert store.run_ids() == [OTHER_ID, RUN_ID]


async def test_what_breaks_one_run_leaves_the_others(runner: Runner) -> None:
    lost = f"rm {runner.state.run(RUN_ID).events}; sleep 60"
    broken, fine = await runner.run_batch(
        [job("it", lost)], [job("it", "sleep 2")], run_ids=[RUN_ID, None]
    )
    assert broken.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert fine.record.status is Status.PASSED


async def test_a_cancelled_run_leaves_what_others_have_built(runner: Runner) -> None:
    """The cancelled run is the first that asked for it, for which it is built."""
    build = derive(dep="sleep 4; echo here > $out")["dep"]
    nodes: list[PrepareNode | ExecuteNode] = [
        built("dep", build),
        job("it", "cat $PIKACI_INPUT_DEP", needs=["dep"]),
    ]
    began = Began(OTHER_ID)

    async def cancel() -> None:
        await began.heard.wait()
        runner.state.run(RUN_ID).cancel_request.touch()

    runs = runner.run_batch(nodes, nodes, sinks=[began], run_ids=[RUN_ID, OTHER_ID])
    (first, second), _ = await asyncio.gather(runs, cancel())
    assert first.record.status is Status.CANCELLED
    assert second.record.status is Status.PASSED
    assert second.said("it") == ["here"]
    (root,) = (second.layout.root / "gcroots").iterdir()
    assert str(root.readlink()) == build.out_path


async def test_a_build_that_fails_fails_each_run_that_needs_it(runner: Runner) -> None:
    builds = derive(bad="echo no way; exit 1", good="echo > $out")
    bad, good = (built(name, build) for name, build in builds.items())
    ends = await runner.run_batch(
        [bad, job("it", needs=["bad"])],
        [bad, good, job("it", needs=["bad"]), job("other", needs=["good"])],
        [good, job("it", needs=["good"])],
    )
    statuses = [ended.record.status for ended in ends]
    assert statuses == [Status.FAILED, Status.FAILED, Status.PASSED]
    for ended in ends[:2]:
        assert ended.record.failure_kind is FailureKind.TEST_FAILURE
        assert "no way" in (ended.layout.attempt("it", 1) / "host.log").read_text()
    assert ends[1].job("other").status is Status.PASSED


async def test_a_run_that_had_nothing_left_to_stop_has_passed(runner: Runner) -> None:
    quick, bad, slow = await runner.run_batch(
        [job("it")], [job("it", "sleep 1; exit 1")], [job("it", "sleep 60")], fail_fast=True
    )
    assert quick.record.status is Status.PASSED
    assert bad.record.failure_kind is FailureKind.TEST_FAILURE
    assert (slow.record.status, slow.record.failure_kind) == (Status.CANCELLED, None)
    assert slow.record.cause
    assert slow.record.cause.code == CauseCode.FAIL_FAST
    assert quick.record.batch == slow.record.batch == BATCH_ID
