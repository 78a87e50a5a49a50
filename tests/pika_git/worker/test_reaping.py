"""What a run leaves whose process died is reaped before its lane's end is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from jerichoci import RunStore
from pika_git.persistence.queue import LaneState
from pika_git.pikaci_process import Ended, Pikaci
from pika_git.worker import running
from pika_git.worker.running import Run
from pika_git.worker.verdict import broken, with_note

if TYPE_CHECKING:
    from pathlib import Path

RUN = "20261201T000000Z-00000000"


@dataclass
class Reaps:
    """Counts what is asked of `pikaci`; the test says how it ends."""

    clock: float = 0.0
    started: int = 0
    lives: set[str] = field(default_factory=set)

    def start(self, key: str, argv: tuple[str, ...], _root: Path, *, stderr: Path) -> None:
        assert argv == ("reap",)
        assert not stderr.exists()
        stderr.write_text(f"the guest is stuck ({self.started})")
        self.lives.add(key)
        self.started += 1

    def knows(self, key: str) -> bool:
        return key in self.lives

    def end(self, run: Run, code: int) -> None:
        run.hear(Ended(self.lives.pop(), code))


@pytest.fixture
def reaps(monkeypatch: pytest.MonkeyPatch) -> Reaps:
    reaps = Reaps()
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: reaps.clock))
    return reaps


@pytest.fixture
def run(tmp_path: Path, reaps: Reaps) -> Run:
    store = RunStore(tmp_path / "state")
    store.layout.run(RUN).root.mkdir(parents=True)
    store.layout.run(RUN).reserve.touch()
    (tmp_path / "said").mkdir()
    return Run(RUN, store, cast("Pikaci", cast("Any", reaps)), tmp_path / "said")


@pytest.mark.parametrize("code", [0, 1])
def test_it_is_reaped_again_until_nothing_is_left(reaps: Reaps, run: Run, code: int) -> None:
    assert not run.is_over()
    reaps.end(run, code)
    assert not run.is_over()
    assert reaps.started == 1
    reaps.clock += 10
    assert not run.is_over()
    assert reaps.started == 2
    run.store.layout.run(RUN).reserve.unlink()
    assert not run.is_over()
    reaps.end(run, 0)
    assert run.is_over()
    assert run.what_is_left() is None


def test_what_stays_left_is_told_with_the_end_of_the_lane(reaps: Reaps, run: Run) -> None:
    while not run.is_over():
        if reaps.lives:
            reaps.end(run, 1)
        reaps.clock += 1
    assert (reaps.clock, reaps.started) == (121, 13)
    ending = with_note(broken("killed", "it was killed"), run.what_is_left())
    assert ending.state is LaneState.FAILED
    assert ending.cause is not None
    assert ending.cause["message"] == "it was killed"
    assert "pikaci reap exited with 1: the guest is stuck (12)" in ending.cause["note"]
    run.forget()
    assert list(run.directory.iterdir()) == []


def test_a_reap_that_does_not_end_is_told(reaps: Reaps, run: Run) -> None:
    assert not run.is_over()
    reaps.clock += 121
    assert run.is_over()
    assert "pikaci reap did not end: the guest" in str(run.what_is_left())
