"""`PIKACI_TRACE`: what a run's own time is spent on."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project


def test_a_trace_has_what_the_run_did_in_chromes_format(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    project.with_env(PIKACI_TRACE=str(file)).pikaci("run", "hello").passed()
    # The array's end may be missing.
    events = json.loads(file.read_text().rstrip().removesuffix(",") + "]")
    assert {(event["ph"], event["pid"]) for event in events} == {("X", events[0]["pid"])}
    spans = {event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in events}
    for earlier, later in (
        ("start and import", "take snapshot"),
        ("take snapshot", "evaluate target hello"),
        ("evaluate target hello", "realise"),
        ("realise", "greet: launch_guest"),
        ("greet: launch_guest", "greet: cleanup"),
    ):
        assert spans[earlier][1] <= spans[later][0], (earlier, later)
    assert {"write run.json", "read plan", "open run"} <= spans.keys()
    rows = sorted((event["tid"], event["ts"], event["ts"] + event["dur"]) for event in events)
    for (row, _, ended), (next_row, began, _) in pairwise(rows):
        assert row != next_row or ended <= began


def test_without_it_there_is_none(project: Project, tmp_path: Path) -> None:
    project.here("run", "hello").passed()
    assert not list(tmp_path.glob("**/*trace*"))
