"""Builds that an evaluation needs: how they are shown, and how the evaluation ends by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2e.project import Project

ABOVE = """
  above.jobs.it.command =
    builtins.readFile (build "above" "cat ${build "inner" "echo first; echo second; exit 3"}");
"""


def test_a_failing_dependency_of_what_an_evaluation_reads_shows_its_builder(
    project: Project, builders: dict[str, str]
) -> None:
    project = project.with_env(**builders)
    project.define(ABOVE)
    done = project.here("run", "above")
    assert done.code == 2
    building, *lines, sentence = done.err.splitlines()
    assert "building inner, which the evaluation needs" in building
    assert lines == ["inner> first", "inner> second"]
    assert "the flake does not evaluate" in sentence
    assert "-inner.drv'" in sentence
    assert "failed with exit code 3" in sentence
