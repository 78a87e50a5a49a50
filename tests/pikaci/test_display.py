"""What a terminal shows while runs go on, as a terminal emulator sees it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
import pytest
from rich.console import Console

from jerichoci.record.event import (
    EventBase,
    Heartbeat,
    JobFinished,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from jerichoci.record.record import Cause, RunRecord
from jerichoci.state.layout import StateLayout
from jerichoci.status import Outcome, Status
from pikaci.render.feed import Out
from pikaci.render.plain import Plain
from pikaci.render.terminal import Terminal
from plans import job, plan
from records import first_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BATCH = "20260131T235959Z-00000000"
ONE, TWO = "20260131T235959Z-00000001", "20260131T235959Z-00000002"
PASSED = {"outcome": Outcome.PASSED, "cached": False, "duration_ms": 1200}


@pytest.fixture(autouse=True)
def _known_state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIKACI_STATE_ROOT", str(tmp_path))


class Screen:
    """A terminal with a view of runs on it."""

    def __init__(self, root: Path, columns: int = 80, rows: int = 24) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.Stream(self._screen)
        self._file = io.StringIO()
        self._columns = columns
        console = Console(
            file=self._file, force_terminal=True, width=columns, height=rows, highlight=False
        )
        self._view = Terminal(StateLayout(root), console)
        self._live = self._view.live()
        self._live.__enter__()

    def show(self, events: Iterable[EventBase]) -> list[str]:
        """Show events; the lines of the screen then."""
        for event in events:
            self._view.emit(event)
        self._view.tick()
        return self._lines()

    def end(self) -> list[str]:
        """Close the view; all lines that were printed."""
        self._live.__exit__(None, None, None)
        shown = self._lines()
        rows = [[row[at].data for at in range(self._columns)] for row in self._screen.history.top]
        return ["".join(row).rstrip() for row in rows] + shown

    def _lines(self) -> list[str]:
        self._stream.feed(self._file.getvalue().replace("\n", "\r\n"))
        self._file.seek(0)
        self._file.truncate()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")


def run_of(run_id: str, target: str, jobs: Sequence[str], batch: str | None = BATCH) -> RunRecord:
    whole = plan(*map(job, jobs), target=target)
    return first_record(StateLayout(Path("nowhere")), whole, run_id).with_(batch=batch)


def started(*runs: RunRecord) -> list[EventBase]:
    return [RunStarted(run_id=run.run_id, run=run) for run in runs]


def begun(run: RunRecord, *jobs: str) -> list[EventBase]:
    return [JobStarted(run_id=run.run_id, job_id=name, attempt=1) for name in jobs]


def over(run: RunRecord, name: str, status: Status = Status.PASSED) -> JobFinished:
    (row,) = (row for row in run.jobs if row.id == name)
    message = None if status is Status.PASSED else f"job {name} exited with 1"
    return JobFinished(run_id=run.run_id, job=row.with_(status=status, message=message))


def ended(run: RunRecord, status: Status = Status.PASSED, **values: object) -> RunFinished:
    jobs = [row.with_(status=status) for row in run.jobs]
    last = run.with_(status=status, jobs=jobs, finished_at="2026-02-01T00:00:41.000Z", **values)
    return RunFinished(run_id=run.run_id, run=last)


def preparing(run: RunRecord, node_id: str, prepare_id: str) -> PrepareStarted:
    return PrepareStarted(run_id=run.run_id, node_id=node_id, prepare_id=prepare_id)


def prepared(run: RunRecord, node_id: str, **values: Any) -> PrepareFinished:  # noqa: ANN401 - those of the event
    return PrepareFinished(run_id=run.run_id, node_id=node_id, **{**PASSED, **values})


def test_all_runs_of_a_batch_are_one_display_that_counts_all_jobs(tmp_path: Path) -> None:
    unit, lint = run_of(ONE, "unit", ["f2", "f10"]), run_of(TWO, "lint", ["all"])
    screen = Screen(tmp_path)
    shown = screen.show([*started(unit, lint), *begun(lint, "all"), *begun(unit, "f10", "f2")])
    assert shown[0] == f"batch {BATCH}: unit, lint"
    assert [line.split()[1:3] for line in shown[1:4]] == [
        ["running", "lint/all"],
        ["running", "unit/f2"],
        ["running", "unit/f10"],
    ]
    assert shown[4] == "0 of 3 jobs done"
    shown = screen.show([over(lint, "all"), ended(lint), over(unit, "f10", Status.FAILED)])
    assert shown[1] == "✔ job lint/all passed"
    assert shown[2] == "✘ job unit/f10 failed: exited with 1"
    assert shown[3].split()[1:3] == ["running", "unit/f2"]
    assert shown[-1] == "2 of 3 jobs done, 1 failed"


def test_a_prepare_that_runs_share_is_shown_once_under_its_authors_id(tmp_path: Path) -> None:
    unit, lint = run_of(ONE, "unit", ["a"]), run_of(TWO, "lint", ["a"])
    screen = Screen(tmp_path)
    shown = screen.show(
        [
            *started(unit, lint),
            preparing(unit, "deps-11111111", "deps"),
            preparing(unit, "deps-22222222", "tools"),
            preparing(lint, "deps-11111111", "libs"),
            preparing(lint, "deps-33333333", "tools"),
        ]
    )
    names = ["deps", "lint/tools", "tools"]
    assert [line.split()[1:3] for line in shown[1:4]] == [["preparing", name] for name in names]
    screen.show([prepared(unit, "deps-11111111"), prepared(lint, "deps-11111111", cached=True)])
    lines = screen.end()
    assert [line for line in lines if "prepare" in line] == ["✔ prepare deps passed  1.2 s"]


def test_a_prepare_that_one_run_gave_up_is_still_made_for_the_other(tmp_path: Path) -> None:
    unit, lint = run_of(ONE, "unit", ["a"]), run_of(TWO, "lint", ["a"])
    screen = Screen(tmp_path)
    both = [preparing(run, "deps-11111111", "deps") for run in (unit, lint)]
    gone = prepared(unit, "deps-11111111", outcome=Outcome.CANCELLED)
    shown = screen.show([*started(unit, lint), *both, gone, ended(unit, Status.CANCELLED)])
    assert "preparing deps" in shown[1]
    shown = screen.show([prepared(lint, "deps-11111111")])
    assert shown[1] == "✔ prepare deps passed  1.2 s"


def test_commands_of_several_targets_that_have_one_id_are_not_taken_for_one(
    tmp_path: Path,
) -> None:
    unit, lint = run_of(ONE, "unit", ["a"]), run_of(TWO, "lint", ["a"])
    screen = Screen(tmp_path)
    screen.show([*started(unit, lint), *(preparing(run, "made", "made") for run in (unit, lint))])
    screen.show([prepared(unit, "made"), prepared(lint, "made")])
    assert screen.end()[1:3] == [
        "✔ prepare made passed  1.2 s",
        "✔ prepare lint/made passed  1.2 s",
    ]


def test_what_nix_builds_and_fetches_is_named(tmp_path: Path) -> None:
    run = run_of(ONE, "unit", ["a"], batch=None)
    screen = Screen(tmp_path)
    beat = Heartbeat(run_id=ONE, running=[], building=["gcc-14", "m4-1"], built=3, to_build=9)
    shown = screen.show([*started(run), preparing(run, "deps-11111111", "deps"), beat])
    assert "  building gcc-14, m4-1 (3 of 9 built)" in shown
    many = beat.with_(building=[], fetching=["a", "b", "c", "d", "e"])
    assert "  fetching a, b, c and 2 more" in screen.show([many])
    own = PrepareStarted(run_id=ONE, node_id="x-1", prepare_id="x", description="x-1.0")
    shown = screen.show([own, beat.with_(building=["x-1.0"])])
    assert not [line for line in shown if "building" in line]


def test_a_batch_ends_with_one_summary_that_says_how_to_look_further(tmp_path: Path) -> None:
    unit, lint, docs = (
        run_of(ONE, "unit", ["a"]),
        run_of(TWO, "lint", ["a"]),
        run_of("20260131T235959Z-00000003", "docs", ["a"]),
    )
    screen = Screen(tmp_path, columns=200)
    why = "skipped by lane docs: none of 2 files matches its 1 globs"
    cause = Cause(code="filtered", message=why)
    screen.show(
        [
            *started(unit, lint, docs),
            over(unit, "a", Status.FAILED),
            ended(unit, Status.FAILED, message="job a exited with 1"),
            ended(lint),
            ended(docs, Status.SKIPPED, message=why, cause=cause),
        ]
    )
    lines = screen.end()
    assert lines[-7:] == [
        "failed: 1 of 3 targets in 42.0 s",
        "unit failed in 42.0 s: job a exited with 1",
        f"  full log: pikaci logs {ONE} --job a",
        f"docs {why}",
        "run the failed jobs again: pikaci run unit --failed",
        f"on the same snapshot: pikaci rerun {BATCH} --failed",
        f"all targets: pikaci status {BATCH}",
    ]


def test_targets_that_were_cancelled_are_one_line_of_the_summary(tmp_path: Path) -> None:
    runs = [run_of(f"20260131T235959Z-0000000{at}", f"t{at}", ["a"]) for at in range(1, 4)]
    some, all_of_them = Screen(tmp_path), Screen(tmp_path)
    ends = [ended(run, Status.CANCELLED, message="the run was cancelled") for run in runs]
    some.show([*started(*runs), ended(runs[0]), *ends[1:]])
    assert some.end()[-3:-1] == ["cancelled: 2 of 3 targets in 42.0 s", "cancelled: t2, t3"]
    all_of_them.show([*started(*runs), *ends])
    assert all_of_them.end()[-2] == "cancelled: 3 targets, 3 jobs in 42.0 s"


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_each_row_is_one_line_however_narrow_the_terminal_is(tmp_path: Path, columns: int) -> None:
    names = ["a" * 60, "short", "b" * 30]
    run = run_of(ONE, "t", names, batch=None)
    screen = Screen(tmp_path, columns)
    shown = screen.show([*started(run), *begun(run, *names)])
    assert [line.split()[1] for line in shown[2:5]] == ["running"] * 3
    assert all(line.rstrip().endswith("s") for line in shown[2:5])
    assert shown[5:] == ["0 of 3 jobs done"]


@pytest.mark.parametrize("rows", [5, 10, 24])
def test_many_running_jobs_leave_what_was_printed_in_place(tmp_path: Path, rows: int) -> None:
    names = [f"j{number}" for number in range(1, 41)]
    run = run_of(ONE, "t", names, batch=None)
    screen = Screen(tmp_path, 80, rows)
    shown = screen.show([*started(run), *begun(run, *names)])
    assert len(shown) <= rows
    assert shown[-1] == "0 of 40 jobs done"
    (more,) = (line for line in shown if line.endswith(" more"))
    assert sum("running" in line for line in shown) + int(more.split()[1]) == 40
    for name in names:
        screen.show([over(run, name)])
    screen.show([ended(run)])
    lines = screen.end()
    assert [line for line in lines if "passed" in line][:-1] == [
        f"✔ job {name} passed" for name in names
    ]


def test_jobs_that_wait_for_room_are_named(tmp_path: Path) -> None:
    run = run_of(ONE, "t", ["a", "b", "c", "d", "e"], batch=None)
    shown = Screen(tmp_path).show(started(run))
    assert shown[2:] == ["waiting to start: a, b, c and 2 more", "0 of 5 jobs done"]


def test_lines_of_a_batch_are_named_and_counted(tmp_path: Path) -> None:
    unit, lint = run_of(ONE, "unit", ["a"]), run_of(TWO, "lint", ["a"])
    path = tmp_path / "told"
    with path.open("w") as file:
        out = Out(file, "stderr")
        view = Plain(StateLayout(tmp_path), out, print_logs=False)
        with view.live():
            for event in (
                *started(unit, lint),
                *begun(unit, "a"),
                over(unit, "a"),
                ended(unit),
                over(lint, "a"),
                ended(lint),
            ):
                view.emit(event)
        out.close()
    told = [line.removeprefix("pikaci: ") for line in path.read_text().splitlines()]
    assert told[2:] == [
        f"batch {BATCH}: unit, lint",
        "job unit/a started",
        "job unit/a passed (1 of 2)",
        "target unit passed in 42.0 s",
        "job lint/a passed (2 of 2)",
        "target lint passed in 42.0 s",
        "passed: 2 targets, 2 jobs in 42.0 s",
        f"all targets: pikaci status {BATCH}",
    ]
