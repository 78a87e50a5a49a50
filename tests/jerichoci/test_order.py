"""Which run is the newest: the one that was made last, whatever the clock said."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from jerichoci.cleanup.gc import collect_garbage
from jerichoci.record.order import renew
from jerichoci.record.store import RunStore
from records import finished, run_ids, writing

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout

LATE = "20991231T000000Z-00000000"
EARLY = "19991231T000000Z-00000000"


def made(layout: StateLayout) -> list[str]:
    """Runs made by three clocks; the ids, the newest first."""
    now, last = run_ids(2)
    ids = [now, LATE, EARLY, last]
    for run_id in ids:
        finished(layout, run_id)
    return ids[::-1]


def listed(layout: StateLayout) -> list[str]:
    return RunStore(layout.root).run_ids()


async def test_the_newest_is_what_was_made_last_and_the_oldest_go_first(
    layout: StateLayout,
) -> None:
    ids = made(layout)
    store = RunStore(layout.root)
    assert store.run_ids() == ids
    assert store.run_ids(limit=2) == ids[:2]
    assert store.resolve("latest") == ids[0]
    report = await collect_garbage(layout, 2, dry_run=True)
    assert report.runs == ids[2:]
    await collect_garbage(layout, 2, dry_run=False)
    assert listed(layout) == ids[:2]
    assert layout.order.read_text().split() == ids[:2][::-1]


def test_runs_that_were_made_before_there_was_an_order_come_first(layout: StateLayout) -> None:
    before = [finished(layout, run_id).run_id for run_id in (EARLY, LATE)]
    layout.order.unlink()
    after = [finished(layout, run_id).run_id for run_id in run_ids(2)]
    assert listed(layout) == [*after[::-1], *before[::-1]]
    assert layout.order.read_text().split() == [*before, *after]


def test_a_run_that_was_copied_here_comes_after_those_with_smaller_ids(
    layout: StateLayout,
) -> None:
    first, copied, second = run_ids(3)
    for run_id in (first, LATE, second):
        finished(layout, run_id)
    shutil.copytree(layout.runs / first, layout.runs / copied)
    assert listed(layout) == [second, LATE, copied, first]


@pytest.mark.parametrize("kind", ["none", "directory", "fifo", "link", "bytes", "half"])
def test_without_an_order_ids_decide(layout: StateLayout, kind: str) -> None:
    ids = made(layout)
    layout.order.unlink()
    match kind:
        case "directory":
            layout.order.mkdir()
        case "fifo":
            os.mkfifo(layout.order)
        case "link":
            layout.order.symlink_to(layout.order)
        case "bytes":
            layout.order.write_bytes(b"\xff\0" * 5000)
        case "half":
            layout.order.write_bytes(LATE[:9].encode())
    assert listed(layout) == sorted(ids, reverse=True)
    last = finished(layout, "20000101T000000Z-00000000").run_id
    if kind in {"none", "link"}:
        # The file is made again, with the runs that are there.
        assert RunStore(layout.root).resolve("latest") == last


def test_an_id_that_is_used_again_is_the_newest(layout: StateLayout) -> None:
    ids = made(layout)
    shutil.rmtree(layout.runs / LATE)
    finished(layout, LATE)
    assert listed(layout) == [LATE, *(run_id for run_id in ids if run_id != LATE)]


def test_runs_that_begin_while_others_are_removed_keep_their_place(layout: StateLayout) -> None:
    ids = list(run_ids(40))
    with ThreadPoolExecutor(1) as threads:
        renewing = threads.submit(lambda: [*map(renew, [layout] * 40)])
        for run_id in reversed(ids):
            with writing(layout, run_id=run_id):
                pass
        renewing.result()
    assert listed(layout) == ids
