"""`pikaci run --watch`: runs again when the tree changes."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from e2e.project import DEADLINE_SECS, Project, processes, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = """
  code.trigger = "branch";
  docs.trigger = "branch";
  code.jobs.it.command = "cat src/code; test ! -e src/wrong";
  docs.jobs.it.command = "cat docs/page";
  plain.jobs.it.command = "cat src/code";
  slow.trigger = "branch";
  slow.jobs.it.command = "test ! -e src/hang || exec -a @marker@ sleep 60";
  two.jobs.good.command = "true";
  two.jobs.bad.command = "test -e src/fixed";
"""
LANES = """
[[branch.lanes]]
id = "code"
target = "code"
paths = ["src/**"]

[[branch.lanes]]
id = "docs"
target = "docs"
paths = ["docs/**"]

[[branch.lanes]]
id = "slow"
target = "slow"
paths = ["src/**"]
"""
IMPATIENT = """
import sys
from pikaci.watch import loop, watcher
watcher.UNSETTLED_SECS = loop.UNSETTLED_SECS = 1.0
sys.argv[0] = "pikaci"
from pikaci.__main__ import main
main()
"""
QUIET_SECS = 1.5
"""Longer than it takes to begin a run."""

PROMPT_SECS = 8.0
"""Less than a job has to end, though it was only just being started."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.below(tmp_path)
    project.define(TARGETS)
    project.lanes(LANES)
    for name in ("src/code", "docs/page"):
        project.write(name, "first\n")
    project.write(".gitignore", "*.log\n")
    project.tree.init()
    project.tree.commit()
    return project


class Watching:
    """A `pikaci run --watch` that is under way."""

    def __init__(self, project: Project, process: subprocess.Popen[bytes], err: Path) -> None:
        self.project = project
        self.process = process
        self._err = err

    @property
    def said(self) -> str:
        return self._err.read_text()

    def wait(self, rounds: int) -> None:
        """Wait until it waits for the n-th time."""
        wait_for(lambda: self.said.count("Ctrl-C ends it") >= rounds or self.process.poll())
        assert self.process.poll() is None, self.said

    def ran(self) -> list[tuple[str, str]]:
        """Targets and ends of the runs, the oldest first."""
        records = [self.project.record(run_id) for run_id in self.project.run_ids()]
        return [(record["target_id"], record["status"]) for record in records]

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECS)


@contextmanager
def watching(project: Project, *args: str, impatient: bool = False) -> Iterator[Watching]:
    err = project.state.with_name("err")
    if impatient:
        object.__setattr__(
            project, "argv", lambda *words: [sys.executable, "-c", IMPATIENT, *words]
        )
    with err.open("wb") as file:
        process = project.start("run", *args, "--watch", stderr=file)
    try:
        yield Watching(project, process, err)
    finally:
        process.kill()
        process.communicate()


def test_what_a_change_selects_runs_again(project: Project) -> None:
    with watching(project, "code", "docs", "plain") as watch:
        watch.wait(1)
        assert sorted(watch.ran()) == [(name, "passed") for name in ("code", "docs", "plain")]
        project.write("docs/page", "second\n")
        watch.wait(2)
        assert sorted(watch.ran()[3:]) == [("docs", "passed"), ("plain", "passed")]
        assert "docs/page changed: running docs, plain" in watch.said
        project.write("src/wrong")
        watch.wait(3)
        assert sorted(watch.ran()[5:]) == [("code", "failed"), ("plain", "passed")]
        project.path("src/wrong").unlink()
        project.write("docs/page", "third\n")
        watch.wait(4)
        assert sorted(watch.ran()[7:]) == [(name, "passed") for name in ("code", "docs", "plain")]
        runs = project.run_ids()
        project.write("docs/page", "third\n")
        project.write("src/some.log")
        project.tree.commit()
        time.sleep(QUIET_SECS)
        assert project.run_ids() == runs
        assert watch.interrupt() == 130
        assert watch.said.endswith("pikaci: interrupted\n")


def test_a_run_that_is_out_of_date_is_cancelled_and_no_other(project: Project) -> None:
    with watching(project, "slow", "docs") as watch:
        watch.wait(1)
        project.write("src/hang")
        wait_for(lambda: processes(project.marker))
        project.write("docs/page", "second\n")
        time.sleep(QUIET_SECS)
        assert watch.ran()[2:] == [("slow", "running")]
        project.path("src/hang").unlink()
        watch.wait(2)
        assert watch.ran()[2] == ("slow", "cancelled")
        assert sorted(watch.ran()[3:]) == [("docs", "passed"), ("slow", "passed")]
        assert processes(project.marker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(project: Project, number: signal.Signals) -> None:
    project.write("src/hang")
    with watching(project, "slow") as watch:
        wait_for(lambda: processes(project.marker))
        began = time.monotonic()
        assert watch.interrupt(number) == 130
        assert time.monotonic() - began < PROMPT_SECS
        assert processes(project.marker) == []
        assert watch.ran() == [("slow", "cancelled")]


def test_a_run_can_be_cancelled_without_the_end_of_watching(project: Project) -> None:
    project.write("src/hang")
    with watching(project, "slow") as watch:
        wait_for(lambda: processes(project.marker))
        project.here("cancel").passed()
        watch.wait(1)
        assert watch.ran() == [("slow", "cancelled")]
        project.path("src/hang").unlink()
        watch.wait(2)
        assert watch.ran()[1:] == [("slow", "passed")]


def test_a_flake_that_breaks_is_told_once_and_may_be_repaired(project: Project) -> None:
    with watching(project, "plain") as watch:
        watch.wait(1)
        project.define("  plain.jobs.it.comand = 1;")
        watch.wait(2)
        assert watch.said.count("comand") == 1
        project.define(TARGETS)
        project.write("src/code", "second\n")
        watch.wait(3)
        assert watch.ran() == [("plain", "passed")] * 2


def test_what_failed_runs_until_it_passes_and_then_all(project: Project) -> None:
    project.here("run", "two")
    with watching(project, "two", "--failed") as watch:
        watch.wait(1)
        assert "1 of 2 jobs" in watch.said
        project.write("src/fixed")
        watch.wait(2)
        assert [project.record(run_id)["partial"] for run_id in project.run_ids()[1:]] == [True] * 2
        project.write("src/code", "second\n")
        watch.wait(3)
        assert not project.record()["partial"]
        assert watch.ran()[2:] == [("two", "passed")] * 2


def test_lanes_run_again_by_their_filters(project: Project) -> None:
    project.write("docs/page", "changed\n")
    with watching(project, "--lanes", "--changed-since", "HEAD") as watch:
        watch.wait(1)
        assert watch.ran() == [("docs", "passed")]
        project.write("src/code", "changed\n")
        watch.wait(2)
        assert sorted(watch.ran()[1:]) == [("code", "passed"), ("slow", "passed")]
        project.write("docs/page", "changed again\n")
        watch.wait(3)
        assert watch.ran()[3:] == [("docs", "passed")]


def test_a_tree_that_does_not_settle_is_told_and_run_all_the_same(project: Project) -> None:
    with watching(project, "plain", impatient=True) as watch:
        watch.wait(1)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            project.write("src/data", str(time.monotonic_ns()))
            time.sleep(0.02)
        assert watch.said.count("does not settle: src/data") == 1
        assert len(watch.ran()) > 1
        assert {status for _, status in watch.ran()[:-1]} == {"passed"}


def test_the_end_of_the_directory_ends_it(project: Project) -> None:
    with watching(project, "plain") as watch:
        watch.wait(1)
        shutil.rmtree(project.root)
        assert watch.process.wait(DEADLINE_SECS) == 75
        assert watch.said.splitlines()[-1].endswith(
            f"{project.root} was removed or renamed; there is nothing left to watch"
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan",), "there is no target 'plan'"),
        (("plain", "--dry-run"), "--watch makes many runs"),
        (("plain", "--run-id", "20260131T235959Z-0123abcd"), "--watch makes many runs"),
        (("--plan", "set.json"), "--watch runs on the working tree"),
        (("--failed",), "no run is over yet"),
    ],
)
def test_what_can_not_be_watched_is_refused(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    assert said in project.here("run", *arguments, "--watch").refused()
