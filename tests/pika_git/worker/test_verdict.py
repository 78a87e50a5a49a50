"""A lane's end is its run's record; what `pikaci` exited with is only compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci import RunStore
from pika_git.pikaci_process import Ended
from pika_git.worker.verdict import verdict

if TYPE_CHECKING:
    from pathlib import Path

RUN = "20260131T235959Z-0123abcd"


def store(directory: Path, **record: Any) -> RunStore:  # noqa: ANN401 - JSON
    path = directory / "runs" / RUN / "run.json"
    path.parent.mkdir(parents=True)
    (directory / "git").mkdir()
    path.write_text(json.dumps({"schema_version": 1, "run_id": RUN, "jobs": [], **record}))
    return RunStore(directory)


@pytest.mark.parametrize(
    ("status", "kind", "code", "state", "is_noted"),
    [
        ("passed", None, 0, "success", False),
        ("passed", None, 1, "success", True),
        ("passed", None, None, "success", False),
        ("skipped", None, 0, "skipped", False),
        ("cancelled", None, 130, "cancelled", False),
        ("failed", "test_failure", 1, "failed", False),
        ("failed", "timeout", 124, "failed", False),
        ("failed", "infrastructure", 75, "failed", False),
        ("failed", "test_failure", 0, "failed", True),
    ],
)
def test_the_record_decides(
    tmp_path: Path, status: str, kind: str | None, code: int | None, state: str, *, is_noted: bool
) -> None:
    runs = store(tmp_path, status=status, failure_kind=kind)
    ending = verdict(runs, RUN, Ended(RUN, code), "")
    assert (ending.state, ending.failure_kind, ending.exit_code) == (state, kind, code)
    note = (ending.cause or {}).get("note", "")
    assert bool(note) == is_noted
    assert f"pikaci exited with {code}, and the record asks for " in note or not is_noted


def test_the_cause_is_the_records(tmp_path: Path) -> None:
    cause = {"phase": "execute", "code": "exit", "message": "exited with 3", "hint": None}
    runs = store(tmp_path, status="failed", failure_kind="test_failure", cause=cause)
    assert verdict(runs, RUN, Ended(RUN, 1), "").cause == cause


@pytest.mark.parametrize("status", ["running?", None, 3, ["passed"]])
def test_a_status_that_is_none_is_infrastructure(tmp_path: Path, status: object) -> None:
    ending = verdict(store(tmp_path, status=status), RUN, Ended(RUN, 0), "")
    assert (ending.state, ending.failure_kind) == ("failed", "infrastructure")


def test_a_record_that_is_no_json_is_infrastructure(tmp_path: Path) -> None:
    runs = store(tmp_path)
    (tmp_path / "runs" / RUN / "run.json").write_text("{")
    ending = verdict(runs, RUN, Ended(RUN, 0), "")
    assert (ending.state, ending.failure_kind) == ("failed", "infrastructure")
    assert str(tmp_path / "runs" / RUN / "run.json") in (ending.cause or {})["message"]


@pytest.mark.parametrize(("code", "is_final"), [(2, True), (75, False)])
def test_a_run_that_was_refused_says_why(tmp_path: Path, code: int, *, is_final: bool) -> None:
    (tmp_path / "git").mkdir()
    ending = verdict(RunStore(tmp_path), RUN, Ended(RUN, code), "pikaci: the plan is gone\n")
    assert ending.is_final == is_final
    assert (ending.cause or {})["message"] == "the run did not begin: pikaci: the plan is gone"


def test_a_run_whose_process_was_killed_before_it_began_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "git").mkdir()
    ending = verdict(RunStore(tmp_path), RUN, Ended(RUN, error="killed by signal 9"), "pikaci: x")
    assert not ending.is_final
    assert "killed by signal 9" in (ending.cause or {})["message"]


def test_a_state_root_that_is_gone_is_named(tmp_path: Path) -> None:
    ending = verdict(RunStore(tmp_path / "gone"), RUN, None, "")
    assert ending.is_final
    assert f"{tmp_path / 'gone'}/git is missing" in (ending.cause or {})["message"]
