from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, Project

if TYPE_CHECKING:
    from pathlib import Path

CATS = 'cats.jobs.it.command = "cat file";'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.below(tmp_path)
    project.define(HELLO + CATS)
    project.write("file", "then\n")
    project.tree.init()
    project.tree.commit()
    return project


def test_several_targets_have_a_record_each_and_one_batch(project: Project) -> None:
    batch = project.here("run", "hello", "cats", "--output", "json").passed().json
    assert {run["target_id"] for run in batch["runs"]} == {"hello", "cats"}
    assert {run["batch"] for run in batch["runs"]} == {batch["batch"]}
    assert {run["status"] for run in batch["runs"]} == {"passed"}


def test_an_unknown_target_among_several_starts_nothing(project: Project) -> None:
    assert "did you mean `hello`?" in project.here("run", "cats", "helo").refused(2)
    assert json.loads(project.here("list", "--json").out) == []
