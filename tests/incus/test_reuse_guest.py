"""`run --reuse` of a job in a guest: its image is a part of what is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from incus.guest_project import make_project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from incus.server import IncusServer

TARGETS = """
  one.jobs.job = {
    runtime = "incus"; incus.role = "runner"; command = "true"; timeoutSecs = 60;
  };
"""


@pytest.fixture
def project(tmp_path: Path, incus_server: IncusServer) -> Project:
    return make_project(tmp_path, incus_server, TARGETS)


def test_a_verdict_is_taken_as_long_as_the_alias_names_the_same_image(project: Project) -> None:
    first = project.run("one", "--reuse")
    second = project.run("one", "--reuse")
    assert (first["reused_run"], second["reused_run"]) == (None, first["run_id"])
    assert second["message"] == f"same plan, tree and image as run {first['run_id']}"
    fingerprint = first["jobs"][0]["execution"]["image_fingerprint"]
    record = project.run_dir(first["run_id"]) / "run.json"
    record.write_text(record.read_text().replace(fingerprint, "0" * len(fingerprint)))
    done = project.here("run", "one", "--reuse").passed()
    assert project.record()["reused_run"] is None
    assert "the image pikaci/dev of its job job is not known to be the same" in done.err
