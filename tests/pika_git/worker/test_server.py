"""A worker starts `pikaci` by its server, whatever state that is in."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from pika_git import pikaci_process
from pika_git.pikaci_process import Ended, Pikaci, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVER = """#!/bin/sh
[ "$1" = serve ] || { echo "alone: $*"; exit 7; }
echo x >>@starts@
say() { printf '{"id": "%s", %s}\\n' "$id" "$1"; }
while read -r line; do
  id=$(printf %s "$line" | sed 's/.*"id": "\\([^"]*\\)".*/\\1/')
  @answer@
done
"""
ANSWERS = {
    "passes": """say "\\"pid\\": $$"; say '"exit_code": 0'""",
    "is silent": ":",
    "dies": "exit 1",
    "dies after its answer": """sleep 0.3 & say "\\"pid\\": $!"; kill -9 $$""",
    "says what is no answer": """echo hello; echo '{"id": 3}'; say '"exit_code": 0'""",
    "can't": """say '"error": "no room"'""",
    "is killed": """say '"signal": 9'""",
}


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have this program be `pikaci`."""

    def make(answer: str) -> Path:
        path = tmp_path / "pikaci"
        text = SERVER.replace("@answer@", answer).replace("@starts@", str(tmp_path / "starts"))
        path.write_text(text)
        path.chmod(0o755)
        monkeypatch.setattr(pikaci_process, "program", lambda: str(path))
        return tmp_path / "starts"

    return make


def hear(pikaci: Pikaci, found: list[Ended]) -> list[Ended]:
    found += pikaci.ended()
    return found


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ("passes", Ended("a", 0)),
        ("is silent", Ended("a", 7)),
        ("dies", Ended("a", 7)),
        ("dies after its answer", Ended("a")),
        ("says what is no answer", Ended("a", 0)),
        ("can't", Ended("a", error="no room")),
        ("is killed", Ended("a", error="killed by signal 9")),
    ],
)
def test_each_end_is_told_once(
    stub: Callable[[str], Path], tmp_path: Path, answer: str, end: Ended
) -> None:
    stub(ANSWERS[answer])
    with Pikaci(tmp_path / "log", answer_secs=0.5) as pikaci:
        pikaci.start("a", ["run"], tmp_path, stderr=tmp_path / "err")
        found: list[Ended] = []
        wait_for(lambda: hear(pikaci, found))
        assert found == [end]
        assert not pikaci.knows("a")
        assert pikaci.ended() == []


def test_a_server_that_dies_is_started_again_before_it_is_needed(
    stub: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pikaci_process, "RESTART_SECS", 0.2)
    starts = stub(ANSWERS["passes"])
    with Pikaci(tmp_path / "log") as pikaci:
        wait_for(starts.exists)
        assert pikaci._server is not None
        os.kill(pikaci._server.pid, signal.SIGKILL)
        wait_for(lambda: pikaci.ended() or starts.read_text() == "x\nx\n")


def test_a_server_that_always_dies_is_not_started_in_a_loop(
    stub: Callable[[str], Path], tmp_path: Path
) -> None:
    starts = stub(ANSWERS["dies"])
    with Pikaci(tmp_path / "log") as pikaci:
        for number in range(5):
            pikaci.start(f"{number}", ["run"], tmp_path, stderr=tmp_path / "err")
        found: list[Ended] = []
        wait_for(lambda: len(hear(pikaci, found)) == 5)
        assert {end.exit_code for end in found} == {7}
    assert starts.read_text() == "x\n"


def test_without_a_program_the_end_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pikaci_process, "program", lambda: str(tmp_path / "none"))
    with Pikaci(tmp_path / "log") as pikaci:
        pikaci.start("a", ["run"], tmp_path, stderr=tmp_path / "err")
        (end,) = pikaci.ended()
        assert end.error == "could not start pikaci: No such file or directory"


def test_a_lane_has_nothing_of_the_forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("PH_TOKEN", "PIKA_GIT_DATA", "GIT_DIR", "CREDENTIALS_DIRECTORY")
    for name in (*ours, "PHONE"):
        monkeypatch.setenv(name, "secret")
    kept = environment(tmp_path)
    assert not kept.keys() & set(ours)
    assert kept["PHONE"] == "secret"
    assert kept["PIKACI_STATE_ROOT"] == str(tmp_path)
