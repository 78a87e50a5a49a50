"""Nix that builds on another machine, and copies to another store, over ssh of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from derivations import derive
from e2e.project import Project
from jerichoci.record.store import RunStore
from pikaci.attest.statement import passed_run, statement_of
from plans import built, job
from remote.away import away

if TYPE_CHECKING:
    from pathlib import Path

    from remote.far_host import FarHost
    from runner import Runner

TARGETS = """
  quick = {
    prepare.one.drv = build "one" "uname -n > $out";
    jobs.use = { needs = [ "one" ]; command = "cat $PIKACI_INPUT_ONE"; };
  };
  several = {
    prepare.broken.drv = build "broken" "echo no; exit 4";
    prepare.two.drv = build "two" "uname -n > $out";
    prepare.three.drv = build "three" "sleep 2; uname -n > $out";
    jobs.fail = { needs = [ "broken" ]; command = "true"; };
    jobs.use-two = { needs = [ "two" ]; command = "cat $PIKACI_INPUT_TWO"; };
    jobs.use-three = { needs = [ "three" ]; command = "cat $PIKACI_INPUT_THREE"; };
  };
"""
NOWHERE = "ssh-ng://root@127.0.0.1"


@pytest.fixture
def project(tmp_path: Path, far_host: FarHost) -> Project:
    """A project whose Nix can log in on the far host."""
    known = tmp_path / "known_hosts"
    known.write_text(f"{far_host.known_hosts_line}\n")
    options = f"-p {far_host.port} -i {far_host.client_key} -o UserKnownHostsFile={known}"
    return Project.committed(tmp_path, TARGETS).with_env(NIX_SSHOPTS=options)


def url(host: FarHost) -> str:
    return f"ssh-ng://root@{host.address}"


def output(project: Project, name: str) -> dict[str, Any]:
    """What became of a prepare in the last run."""
    values = json.loads((project.run_dir() / "prepared-outputs.json").read_text())
    (found,) = (row for row in values["outputs"] if row["node_id"].startswith(name))
    return dict(found)


def verdicts(project: Project) -> dict[str, tuple[str, str | None]]:
    jobs = project.record()["jobs"]
    return {job["id"]: (job["status"], job["failure_kind"]) for job in jobs}


BUILT = {
    "fail": ("failed", "test_failure"),
    "use-two": ("passed", None),
    "use-three": ("passed", None),
}


def test_machines_that_nix_has_build_and_their_verdict_is_the_builders(
    project: Project, far_host: FarHost
) -> None:
    machines = f"{url(far_host)} {project.system} - 2"
    done = project.here("run", "several", "--builders", machines, "--option", "max-jobs", "0")
    assert done.code == 1
    assert verdicts(project) == BUILT
    assert far_host.name in project.log("use-two")
    assert "failed with exit code 4" in done.err


def test_a_store_that_builds_gives_copies_to_this_machine(
    project: Project, far_host: FarHost
) -> None:
    done = project.here("run", "several", "--store", url(far_host))
    assert done.code == 1
    assert verdicts(project) == BUILT
    assert far_host.name in project.log("use-two")
    assert far_host.name in project.log("use-three")
    assert "broken> no" in done.err
    assert output(project, "two")["gc_root"]


def test_what_was_built_here_and_copied_there_comes_back_from_there(
    project: Project, far_host: FarHost
) -> None:
    store, here = url(far_host), os.uname().nodename
    project.run("quick", "--copy-to", store)
    assert output(project, "one")["copies"][0]["outcome"] == "passed"
    path = output(project, "one")["path"]
    there = far_host.nix_dir / path.removeprefix("/nix/")
    assert there.read_text() == f"{here}\n"
    shutil.rmtree(project.run_dir() / "gcroots")
    subprocess.run(["nix-store", "--delete", path], check=True, capture_output=True)
    project.run("quick", "--store", store)
    assert here in project.log("use")
    assert far_host.name not in project.log("use")


@pytest.mark.parametrize(
    "flags", [("--store", NOWHERE), ("--builders", f"{NOWHERE} - - 1", "--option", "max-jobs", "0")]
)
def test_where_no_machine_can_be_reached_it_is_no_fault_of_the_build(
    project: Project, flags: tuple[str, ...]
) -> None:
    done = project.here("run", "quick", *flags)
    assert done.code == 75
    assert "Connection refused" in done.err


def test_the_store_of_the_evaluation_is_this_machines(project: Project) -> None:
    refusal = project.here("run", "quick", "--option", "store", NOWHERE).refused()
    assert "`pikaci run --store` has another one build" in refusal


async def test_an_output_that_only_a_host_has_is_left_out_of_a_statement(
    runner: Runner, host: FarHost
) -> None:
    there = {"placement": "remote_ssh", "placement_config": {"host": host.name}}
    builds = derive(dep="echo there > $out", own="echo here > $out")
    stays = built("dep", builds["dep"].with_(residency="remote")).with_(**there)
    use = away("use", "cat $PIKACI_INPUT_DEP", host, needs=["dep"])
    ended = await runner.run(
        stays, built("own", builds["own"]), use, job("here", "true", needs=["own"])
    )
    run = passed_run(RunStore(runner.state.root), ended.record.run_id)
    assert run
    statement, left_out = await statement_of(run, None)
    assert left_out == [f"dep, which is on {host.name} alone"]
    assert statement
    (subject,) = statement["subject"]
    assert subject["name"] == builds["own"].out_path


def test_runs_of_a_batch_build_in_another_store(project: Project, far_host: FarHost) -> None:
    done = project.here("run", "quick", "several", "--store", url(far_host))
    assert done.code == 1
    found = {run_id: project.record(run_id)["jobs"] for run_id in project.run_ids()}
    failed = [row["id"] for jobs in found.values() for row in jobs if row["status"] != "passed"]
    assert failed == ["fail"]
    for run_id, jobs in found.items():
        for row in jobs:
            if row["status"] == "passed":
                assert far_host.name in project.log(row["id"], run_id)
