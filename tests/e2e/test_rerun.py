from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2e.project import Project


def test_a_rerun_has_the_plan_and_the_snapshot_of_the_first(project: Project) -> None:
    project.define('  cats.jobs.it.command = "cat file";')
    project.write("file", "then\n")
    first = project.run("cats")
    project.write("file", "now\n")
    project.define('  other.jobs.it.command = "exit 1";')
    done = project.here("rerun", "--output", "json").passed()
    second = done.json
    assert second["rerun_of"] == first["run_id"]
    assert second["run_id"] != first["run_id"]
    for same in ("plan_digest", "snapshot_id", "source_tree", "git_head", "git_dirty"):
        assert second[same] == first[same]
    assert "then" in project.log("it", second["run_id"])


def test_what_nix_has_collected_is_evaluated_and_built_again(project: Project) -> None:
    first = project.run("hello")
    project.define('  other.jobs.it.command = "exit 1";')
    (output,) = project.here("prepared-outputs", "latest", "--json").passed().json["outputs"]
    for root in (project.run_dir() / "gcroots").iterdir():
        root.unlink()
    paths = [output["path"], output["drv_path"]]
    subprocess.run(["nix-store", "--delete", *paths], check=True, capture_output=True, timeout=60)
    second = project.here("rerun", first["run_id"], "--output", "json").passed().json
    assert second["plan_digest"] == first["plan_digest"]
    (timing,) = second["prepare_timings"]
    assert (timing["outcome"], timing["cached"]) == ("passed", False)


def test_prepared_outputs_are_shown_and_kept_from_nixs_collector(project: Project) -> None:
    project.run("hello")
    head, row = project.here("prepared-outputs", "latest").passed().out.splitlines()
    assert head.split() == ["PREPARE", "HOST", "OUTCOME", "HOW", "MOVED", "PATH"]
    assert row.split()[1:5] == [os.uname().nodename, "passed", "built", "-"]
    path = row.split()[5]
    assert path.startswith("/nix/store/")
    argv = ["nix-store", "--delete", path]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "still alive" in done.stderr
