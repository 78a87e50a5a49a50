from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pika_git.forge_runtime.plan_set import InvalidSetError, read_plan_set

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, preconditions: list[str], placement: str = "local") -> Path:
    plan = {
        "system": "x86_64-linux",
        "preconditions": preconditions,
        "nodes": [{"placement": placement}],
    }
    planned = {"target_id": "t", "plan": plan, "plan_digest": "d", "error": None}
    path.write_text(json.dumps({"lanes": [], "changed_files": [], "plans": [planned]}))
    return path


@pytest.mark.parametrize(
    ("preconditions", "labels"),
    [([], ()), (["root", "gpu"], ("root", "gpu")), (["sshd, and root"], ())],
)
def test_a_precondition_of_one_word_is_a_label_and_a_sentence_is_not(
    tmp_path: Path, preconditions: list[str], labels: tuple[str, ...]
) -> None:
    (lane,) = read_plan_set(written(tmp_path / "set", preconditions), "manual").lanes
    assert lane.labels == ("x86_64-linux", *labels)


def test_a_target_of_other_hosts_runs_on_a_worker_of_any_system(tmp_path: Path) -> None:
    (lane,) = read_plan_set(written(tmp_path / "set", ["root"], "remote_ssh"), "manual").lanes
    assert lane.labels == ("root",)


def test_what_is_no_plan_set_is_said(tmp_path: Path) -> None:
    path = tmp_path / "set"
    path.write_text("[]")
    with pytest.raises(InvalidSetError, match="is not a plan set"):
        read_plan_set(path, "branch")


def test_a_plan_set_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with path.open("wb") as file:
        file.truncate(64 * 1024**2 + 1)
    with pytest.raises(InvalidSetError, match="more than 64 MiB"):
        read_plan_set(path, "branch")
