"""Staged Rust builds: plan, prepared outputs and jobs, on fakes of cargo and crane.

`nix/checks/staged-rust.nix` has the fakes; what the real jq makes of cargo's messages is tried
with messages that `cargo/record.py` recorded.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import Project
from jerichoci.machine.system import own_system
from jerichoci.nix.payload_files import MANIFEST
from nix.evaluation import ROOT, evaluate, run_nix
from plans import read_payload
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from jerichoci.plan.payload import PayloadManifest

Plans = dict[str, Any]

DEPS_PATH = "/staged/linux-rust/workspace-deps"
BUILD_PATH = "/staged/linux-rust/workspace-build"
SCRIPTS = ROOT / "nix/ci/staged-rust"

FLAKE = """
{
  outputs = _: {
    pikaci = (import ./nix/lib).mkCatalog {
      systems = [ "@system@" ];
      targets = import ./targets.nix;
    };
  };
}
"""
TARGETS = """
system:
let
  lib = import ./nix/lib;
  builtFor = kind: import ./nix/checks/staged-rust.nix { inherit system kind; src = ./.; };
  stages = { inherit (builtFor "linux-rust") workspaceDeps workspaceBuild; };
  staged = attributes: lib.stagedRust (stages // attributes);
in
{
  unit = staged {
    description = "All tests";
    jobs = {
      alpha.arguments = [ "it's" "--ignored" ];
      beta = { wrapper = "run-smoke"; timeoutSecs = 60; };
      lint.command = ''"$PIKACI_INPUT_WORKSPACE_DEPS/bin/run-cargo" clippy --workspace'';
    };
  };
  apple = lib.stagedRust {
    inherit (builtFor "apple-rust") kind workspaceDeps workspaceBuild;
    jobs = {
      alpha.arguments = [ "now" ];
      beta = { runtime = "tart"; tart.base = "sequoia"; };
      lint.command = ''"$PIKACI_INPUT_WORKSPACE_DEPS/bin/run-cargo" clippy --workspace'';
    };
  };
  again = staged {
    title = "again";
    job = { needs = [ "fixture" ]; env.A = "shared"; };
    prepare.fixture.hostCommand = { command = "echo 1 > fixture"; outputs = [ "fixture" ]; };
    jobs.all.env.A = "own";
  };
  partial = staged {
    snapshot.exclude = [ "crates/beta/**" ];
    jobs.beta.wrapper = "run-smoke";
  };
  broken = staged {
    workspaceBuild = derivation {
      name = "broken";
      inherit system;
      builder = "/bin/sh";
      args = [ "-ec" "mkdir -p $out/share/pikaci; echo \\"$manifest\\" > $out/@manifest@" ];
      manifest = builtins.toJSON { schema_version = 1; kind = "x"; asset_roots = [ "../x" ]; };
      PATH = "/usr/bin:/bin";
    };
    jobs.all = { };
  };
}
"""


def workspace(directory: Path) -> Project:
    """A repository whose workspace is the fakes' own."""
    (directory / "home").mkdir()
    tree = UserTree(directory / "repo")
    shutil.copytree(ROOT / "nix/checks/staged-rust", tree.root)
    for name in ("lib", "ci", "checks"):
        shutil.copytree(ROOT / "nix" / name, tree.root / "nix" / name)
    token = secrets.token_hex(8)
    tree.write("flake.nix", FLAKE.replace("@system@", own_system()))
    tree.write("targets.nix", TARGETS.replace("@manifest@", MANIFEST))
    tree.write("token", token)
    environment = IDENTITY | {"HOME": str(directory / "home"), "LC_ALL": "C.UTF-8"}
    return Project(tree, directory / "state", token, own_system(), environment=environment)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A workspace to change."""
    return workspace(tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A workspace in git, in which the jobs of `unit` and some of `apple` have run; others fail."""
    project = workspace(tmp_path_factory.mktemp("staged"))
    project.tree.init().commit()
    for target in (("unit",), ("apple", "--job", "alpha", "--job", "lint")):
        project.run(*target)
    for name in ("partial", "broken"):
        assert project.here("run", name).code == 1
    return project


def run_of(ran: Project, target: str) -> str:
    """The run of a target."""
    return next(run for run in ran.run_ids() if ran.record(run)["target_id"] == target)


@pytest.fixture(scope="module")
def plans(ran: Project) -> Plans:
    """The plans of all targets of that workspace."""
    files = {name: ran.run_dir(run_of(ran, name)) / "plan.json" for name in ("unit", "apple")}
    again = ran.here("plan", "again", "--json").passed().json
    return {name: json.loads(file.read_text()) for name, file in files.items()} | {"again": again}


def prepares(values: dict[str, Any]) -> dict[str, Any]:
    return {node["description"]: node for node in values["nodes"] if node["kind"] == "prepare"}


def stages(values: dict[str, Any]) -> tuple[Any, Any]:
    nodes = prepares(values)
    return (
        nodes["Dependencies of the workspace, compiled"],
        nodes["Test programs of the workspace"],
    )


def drvs(project: Project) -> list[str]:
    """The derivations of both stages, of the workspace as it is now."""
    flake = f"(import {project.root}/flake.nix).outputs {{ }}"
    values = evaluate(f"({flake}).pikaci.{own_system()}.plans.unit")
    return [node["prepare"]["drv_path"] for node in stages(values)]


def payload(node: dict[str, Any]) -> PayloadManifest:
    """The manifest of a stage, which is built."""
    manifest = read_payload(Path(node["prepare"]["out_path"]))
    assert manifest
    return manifest


def test_every_job_gets_both_stages_at_their_guest_paths(plans: Plans) -> None:
    deps, build = stages(plans["unit"])
    expected = [
        {
            "node_id": build["id"],
            "env": "PIKACI_INPUT_WORKSPACE_BUILD",
            "guest_path": BUILD_PATH,
        },
        {"node_id": deps["id"], "env": "PIKACI_INPUT_WORKSPACE_DEPS", "guest_path": DEPS_PATH},
    ]
    jobs = [node["execute"] for node in plans["unit"]["nodes"] if node["kind"] == "execute"]
    assert [job["inputs"] for job in jobs] == [expected] * 3
    assert [job["command"] for job in jobs] == [
        "exec \"$PIKACI_INPUT_WORKSPACE_BUILD/bin/run-alpha\" 'it'\\''s' --ignored",
        'exec "$PIKACI_INPUT_WORKSPACE_BUILD/bin/run-smoke"',
        '"$PIKACI_INPUT_WORKSPACE_DEPS/bin/run-cargo" clippy --workspace',
    ]


def test_targets_of_the_same_build_share_its_nodes(plans: Plans) -> None:
    first, second = prepares(plans["unit"]), prepares(plans["again"])
    assert set(second) - set(first) == {"fixture"}
    assert all(second[name] == node for name, node in first.items())


def test_a_job_says_its_own_over_what_all_have_in_common(plans: Plans) -> None:
    *_, job = plans["again"]["nodes"]
    assert job["execute"]["env"] == {"A": "own"}
    assert len(job["depends_on"]) == 3


def test_both_stages_have_manifests_that_hold(plans: Plans) -> None:
    deps, build = (payload(node) for node in stages(plans["unit"]))
    assert (deps.kind, deps.entrypoints) == ("linux-rust-workspace-deps", ["bin/run-cargo"])
    assert deps.asset_roots == ["target.tar.zst"]
    assert build.kind == "linux-rust-workspace-build"
    assert build.entrypoints == ["bin/run-all", "bin/run-alpha", "bin/run-beta", "bin/run-smoke"]
    mounts = [mount.model_dump() for stage in (deps, build) for mount in stage.mounts]
    assert mounts == [
        {"name": name, "relative_path": ".", "guest_path": path, "read_only": True}
        for name, path in (("workspace-deps", DEPS_PATH), ("workspace-build", BUILD_PATH))
    ]


def test_only_the_lock_and_the_manifests_change_the_dependencies(project: Project) -> None:
    deps, build = drvs(project)
    project.write("crates/alpha/greeting.txt", "good day\n")
    new_deps, new_build = drvs(project)
    assert (new_deps == deps, new_build == build) == (True, False)
    project.write("Cargo.lock", "version = 3\n")
    assert drvs(project)[0] != deps


def test_jobs_run_what_was_built_in_the_workspace(ran: Project) -> None:
    unit = run_of(ran, "unit")
    assert {job["id"]: job["status"] for job in ran.record(unit)["jobs"]} == dict.fromkeys(
        ("alpha", "beta", "lint"), "passed"
    )
    assert "ok: alpha greets with 2 arguments: it's --ignored\n" in ran.log("alpha", unit)
    assert "ok: beta\n" in ran.log("beta", unit)
    said = "cargo clippy --profile dev --workspace, SDK none, dependencies from ./Cargo.lock\n"
    assert said in ran.log("lint", unit)


def test_apples_stages_are_at_guest_paths_of_their_own(plans: Plans) -> None:
    jobs = {node["id"]: node for node in plans["apple"]["nodes"] if node["kind"] == "execute"}
    assert jobs["execute-beta"]["runtime"] == "tart"
    for job in jobs.values():
        assert [given["guest_path"] for given in job["execute"]["inputs"]] == [
            "/staged/apple-rust/workspace-build",
            "/staged/apple-rust/workspace-deps",
        ]


def test_apples_jobs_run_what_was_built_with_apples_sdk(ran: Project, plans: Plans) -> None:
    manifests = [payload(node) for node in prepares(plans["apple"]).values()]
    assert {manifest.kind: manifest.mounts[0].guest_path for manifest in manifests} == {
        f"apple-rust-{stage}": f"/staged/apple-rust/{stage}"
        for stage in ("workspace-deps", "workspace-build")
    }
    assert "ok: alpha greets with 1 arguments: now\n" in ran.log("alpha", run_of(ran, "apple"))
    assert "SDK /the SDK's, dependencies from ./Cargo.lock\n" in ran.log(
        "lint", run_of(ran, "apple")
    )


def test_a_failing_test_fails_its_job_after_all_have_run(project: Project) -> None:
    project.write("crates/alpha/greeting.txt", "good day\n")
    assert project.here("run", "again").code == 1
    assert "ok: beta\n" in project.log("all")
    assert "failed: alpha/greeting-test\n" in project.log("all")
    (job,) = project.record()["jobs"]
    assert job["exit_code"] == 101


def test_a_workspace_without_a_packages_directory_is_named(ran: Project) -> None:
    said = ran.log("beta", run_of(ran, "partial"))
    assert "beta was built from crates/beta, which this workspace hasn't" in said


def test_a_stage_with_a_wrong_manifest_runs_no_job(ran: Project) -> None:
    (job,) = ran.record(run_of(ran, "broken"))["jobs"]
    assert job["cause"]["code"] == "payload_invalid"
    assert job["cause"]["message"].endswith(
        f"{MANIFEST} is wrong: asset_roots.0: '../x' is not a plain path inside the output"
    )


def test_the_check_of_this_flake_builds() -> None:
    check = f'import {ROOT}/nix/checks/staged-rust.nix {{ system = "{own_system()}"; }}'
    done = run_nix("build", "--no-link", "--offline", "--impure", "--expr", check)
    assert done.returncode == 0, done.stderr


def test_a_wrapper_with_a_path_for_a_name_is_refused() -> None:
    check = (
        f'(import {ROOT}/nix/checks/staged-rust.nix {{ system = "x86_64-linux";'
        ' wrappers."../x" = ""; }).workspaceBuild.drvPath'
    )
    tried = evaluate(f"(builtins.tryEval ({check})).success")
    assert tried is False


RECORDED = Path(__file__).with_name("cargo") / "recorded"
"""What two versions of cargo said of the same workspace: each calls its packages differently."""
PROGRAM = """#!/bin/sh
echo "in $(cat where), with ${CARGO_BIN_EXE_alpha:+$("$CARGO_BIN_EXE_alpha")}"
"""


@pytest.mark.parametrize("version", ["1.65.0", "1.95.0"])
def test_what_cargo_says_that_it_built_is_found_and_runs(tmp_path: Path, version: str) -> None:
    tree = UserTree(tmp_path / "tree")
    tree.write("where", "whole")
    tree.write("crates/alpha/where", "alpha")
    for name in ("messages.jsonl", "metadata.json"):
        said = (RECORDED / version / name).read_text().replace("@tree@", str(tree.root))
        (tmp_path / name).write_text(said)
    for line in (tmp_path / "messages.jsonl").read_text().splitlines():
        if program := json.loads(line).get("executable"):
            tree.write(str(Path(program).relative_to(tree.root)), PROGRAM)
    tree.write("target/debug/alpha", "#!/bin/sh\necho alpha itself\n")

    def run(script: str, *args: str) -> str:
        argv = ["bash", "-ec", script, "bash", *args]
        done = subprocess.run(argv, cwd=tree.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    jq = 'jq -r --slurpfile metadata ../metadata.json -f "$1" ../messages.jsonl > ../programs'
    run(jq, str(SCRIPTS / "programs.jq"))
    programs = (tmp_path / "programs").read_text().splitlines()
    assert sorted(line.split("\t")[:4] for line in programs) == [
        ["alpha", "crates/alpha", "bin", "alpha"],
        ["alpha", "crates/alpha", "test", "alpha-bin"],
        ["alpha", "crates/alpha", "test", "alpha-lib"],
        ["alpha", "crates/alpha", "test", "it-test"],
        ["whole", ".", "test", "whole-lib"],
    ]
    run(
        'bash "$1/install-programs.sh" ../out ../programs "$(command -v bash)" "$1/run-tests.sh";'
        """ bash "$1/manifest.sh" ../out '{"schema_version":1,"kind":"x"}'""",
        str(SCRIPTS),
    )
    manifest = read_payload(tmp_path / "out")
    assert manifest
    assert manifest.entrypoints == ["bin/run-all", "bin/run-alpha", "bin/run-whole"]
    assert run("../out/bin/run-alpha").splitlines() == [
        *("running alpha-bin of alpha", "in alpha, with alpha itself"),
        *("running alpha-lib of alpha", "in alpha, with alpha itself"),
        *("running it-test of alpha", "in alpha, with alpha itself"),
    ]
    assert run("../out/bin/run-whole") == "running whole-lib of whole\nin whole, with \n"
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["kind"] == "x"
