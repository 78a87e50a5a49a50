"""Records made by hand, and run directories as a process leaves them that dies."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from jerichoci.record.journal import Sink, write_line
from jerichoci.record.record import RunRecord, Tool
from jerichoci.record.rundir import RunWriter, open_run
from jerichoci.run.request import RunRequest, Source
from jerichoci.run.request import first_record as engines_first_record
from jerichoci.status import Status
from plans import RUN_ID, job, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jerichoci.plan.plan import Plan
    from jerichoci.state.layout import RunLayout, StateLayout

Json = dict[str, Any]
TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

PHASES = [
    "prepare_directories",
    "stage_workspace_snapshot",
    "prepare_runtime",
    "launch_guest",
    "wait_for_completion",
    "collect_artifacts",
    "cleanup",
]
"""Those of a job, in order."""


def first_record(
    state: StateLayout, of: Plan | None = None, run_id: str = RUN_ID, tree: str = TREE
) -> RunRecord:
    """The record of a run that has just begun."""
    stamped = (of or plan(job("greet"))).with_(run_id=run_id, created_at="2026-01-31T23:59:59.000Z")
    source = Source(tree=tree, snapshot_id=tree)
    request = RunRequest(plan=stamped, source=source, tool=Tool(version="0"))
    return engines_first_record(state, request, stamped)


def writing(
    state: StateLayout,
    of: Plan | None = None,
    run_id: str = RUN_ID,
    sinks: Sequence[Sink] = (),
    tree: str = TREE,
) -> AbstractContextManager[RunWriter]:
    """A run that is being written."""
    state.make()
    used = (of or plan(job("greet"))).with_(run_id=run_id)
    return open_run(state, first_record(state, used, run_id, tree), used, sinks)


def finished(
    state: StateLayout, run_id: str = RUN_ID, status: Status = Status.PASSED, tree: str = TREE
) -> RunLayout:
    """A run that is over."""
    with writing(state, run_id=run_id, tree=tree) as writer:
        jobs = [row.with_(status=status) for row in writer.record.jobs]
        writer.finish(writer.record.with_(status=status, jobs=jobs))
        return writer.layout


def dead(
    state: StateLayout, of: Plan | None = None, run_id: str = RUN_ID, tree: str = TREE
) -> RunLayout:
    """A run whose process died."""
    with writing(state, of, run_id, tree=tree) as writer:
        return writer.layout


def events(run: RunLayout) -> list[Json]:
    """The events of a run, each line of which must be whole."""
    text = run.events.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def check_events(run: RunLayout) -> list[Json]:
    """The events of a run that is over: numbered without gaps, one end, which is the last."""
    rows = events(run)
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert {row["run_id"] for row in rows} == {run.run_id}
    kinds = [row["event"] for row in rows]
    assert kinds[0] == "run_started"
    assert kinds.index("run_finished") == len(rows) - 1
    return rows


def record(run: RunLayout) -> Json:
    """run.json."""
    values: Json = json.loads(run.record.read_bytes())
    return values


def change(path: Path, **changes: object) -> None:
    """Give fields of a JSON record other values."""
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def append_event(to: RunLayout, /, **values: object) -> None:
    """Append an event as the run's own process would have."""
    with to.events.open("ab", buffering=0) as file:
        seq = len(to.events.read_bytes().splitlines())
        write_line(file.fileno(), {"schema_version": 1, "seq": seq, "run_id": to.run_id, **values})


def run_ids(count: int) -> Iterator[str]:
    """Run ids, each later than the one before."""
    for number in range(count):
        yield f"20260131T{number:06d}Z-{secrets.token_hex(4)}"
