"""The catalog under examples/pika: every target plans, and a wrong edit is caught."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import Project
from jerichoci.plan.plan import parse_plan
from nix.evaluation import ROOT, error_message, eval_catalog

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

STAGED = (
    "pre-merge-agent-contracts",
    "pre-merge-pika-rust",
    "pre-merge-notifications",
    "pre-merge-pikachat-rust",
    "pre-merge-pikachat-typescript",
    "pre-merge-pikachat-openclaw-e2e",
    "pre-merge-pika-followup",
    "pre-merge-fixture-rust",
    "pre-merge-rmp",
)
TARGETS = {
    "x86_64-linux": {*STAGED, "nightly-linux"},
    "aarch64-darwin": {
        "apple-desktop",
        "apple-host-sanity",
        "nightly-apple-ui",
        "pre-merge-apple-ios",
        "pre-merge-apple-rust",
    },
}
GUEST_PATHS = {"/staged/linux-rust/workspace-build", "/staged/linux-rust/workspace-deps"}
APPLE_PATHS = {"/staged/apple-rust/workspace-build", "/staged/apple-rust/workspace-deps"}
MACS = {"labels": ["mac-vms"]}


def copied(directory: Path) -> Path:
    """Copies of the example and of the library that it takes from beside it."""
    for name in ("nix/lib", "examples/pika"):
        shutil.copytree(ROOT / name, directory / name)
    return directory


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with the example."""
    directory = tmp_path_factory.mktemp("example")
    project = Project.below(directory)
    copied(project.root)
    project.tree.init().commit()
    return project.at(project.root / "examples/pika")


def evaluated(directory: Path) -> CompletedProcess[str]:
    """Nix on the catalogs and the plans of a copy of the example, by system."""
    flake = f"(import {directory}/examples/pika/flake.nix).outputs {{ }}"
    select = f"builtins.mapAttrs (_: it: {{ inherit (it) catalog plans; }}) ({flake}).pikaci"
    return eval_catalog(select, "--read-only")


@pytest.fixture(scope="module")
def plans() -> dict[str, Any]:
    """The plans of all targets, of whatever system."""
    systems = json.loads(evaluated(ROOT).stdout)
    return {name: plan for system in systems.values() for name, plan in system["plans"].items()}


@pytest.mark.parametrize("system", TARGETS)
def test_each_system_has_its_targets(example: Project, system: str) -> None:
    rows = example.here("targets", "--system", system, "--json").passed().json
    assert {row["id"] for row in rows} == TARGETS[system]
    target = min(TARGETS[system])
    plan = example.here("plan", target, "--json").passed().json
    assert (plan["target_id"], plan["system"]) == (target, system)


def test_every_target_plans_for_its_system(plans: dict[str, Any]) -> None:
    assert {(name, plan["system"]) for name, plan in plans.items()} == {
        (target, system) for system, targets in TARGETS.items() for target in targets
    }
    for name, plan in plans.items():
        assert parse_plan(plan, "plan.json").target_id == name


def executes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in plan["nodes"] if node["kind"] == "execute"]


def test_staged_targets_share_what_is_built(plans: dict[str, Any]) -> None:
    builds = set()
    for target in STAGED:
        nodes = plans[target]["nodes"]
        assert executes(plans[target])
        for job in executes(plans[target]):
            assert {it["guest_path"] for it in job["execute"]["inputs"]} >= GUEST_PATHS
            assert (job["placement"], job["runtime"]) == ("remote_ssh", "incus")
        builds |= {
            node["prepare"]["drv_path"]
            for node in nodes
            if node["kind"] == "prepare" and node["prepare"]["type"] == "nix_build"
        }
    assert len(builds) == 2


def test_only_what_talks_to_relays_has_a_network(plans: dict[str, Any]) -> None:
    networks = {
        target: {node["runtime_config"]["network"] for node in executes(plans[target])}
        for target in TARGETS["x86_64-linux"]
    }
    assert networks == {name: {None} for name in STAGED} | {"nightly-linux": {"incusbr0"}}


def test_apple_runs_on_the_mac_and_in_vms(plans: dict[str, Any]) -> None:
    found = {
        target: {(node["placement"], node["runtime"]) for node in executes(plans[target])}
        for target in TARGETS["aarch64-darwin"]
    }
    assert found == {
        "apple-host-sanity": {("remote_ssh", "host_process")},
        "apple-desktop": {("local", "tart")},
        "nightly-apple-ui": {("local", "tart")},
        "pre-merge-apple-ios": {("remote_ssh", "tart")},
        "pre-merge-apple-rust": {("remote_ssh", "tart")},
    }


def test_what_a_mac_makes_is_used_in_a_vm_of_it(plans: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in plans["pre-merge-apple-ios"]["nodes"]}
    job = nodes.pop("execute-ios-tests")
    assert {name: node["prepare"]["type"] for name, node in nodes.items()} == dict.fromkeys(
        ("core-framework", "xcode-project"), "host_command"
    )
    for node in (job, *nodes.values()):
        assert (node["placement"], node["placement_config"]) == ("remote_ssh", MACS)
    for given in job["execute"]["inputs"]:
        (output, *_) = nodes[given["node_id"]]["prepare"]["outputs"]
        assert f"${given['env']}/{output}" in job["execute"]["command"]


def test_vms_have_what_of_the_mac_their_target_asks_for(plans: dict[str, Any]) -> None:
    (desktop,) = plans["apple-desktop"]["nodes"]
    assert desktop["runtime_config"]["mount_host_toolchain"]
    *_, ios = plans["pre-merge-apple-ios"]["nodes"]
    config = ios["runtime_config"]
    assert config["xcode_path"] == "/Volumes/My Shared Files/xcode"
    assert {share["name"]: share["read_only"] for share in config["shares"]} == {
        "xcode": True,
        "swift-packages": False,
    }
    assert "$PIKACI_SHARE_SWIFT_PACKAGES" in ios["execute"]["command"]
    assert all(job["execute"]["resources"]["memory_mib"] for job in (desktop, ios))


def test_apples_workspace_is_made_and_kept_by_the_macs_that_run_it(plans: dict[str, Any]) -> None:
    nodes = plans["pre-merge-apple-rust"]["nodes"]
    assert {node["placement"] for node in nodes} == {"remote_ssh"}
    assert [node["placement_config"] for node in nodes] == [MACS] * len(nodes)
    stages = [node["prepare"] for node in nodes if node["kind"] == "prepare"]
    assert [stage["residency"] for stage in stages] == ["remote", "remote"]
    for node in executes(plans["pre-merge-apple-rust"]):
        assert {it["guest_path"] for it in node["execute"]["inputs"]} == APPLE_PATHS


def selected(example: Project, name: str) -> set[str]:
    """The lanes for a change of one file."""
    before = example.tree.commit()
    example.write(name, "changed\n")
    after = example.tree.commit()
    done = example.here("select", "--base", before, "--head", after, "--json").passed()
    return {lane["id"] for lane in done.json["lanes"] if lane["selected"]}


def test_a_change_selects_the_lanes_it_concerns(example: Project) -> None:
    assert selected(example, "crates/rmp-cli/src/main.rs") == {"check-pika-followup", "check-rmp"}
    assert selected(example, "ios/App.swift") == {"check-apple-host-sanity", "check-apple-ios"}
    lanes = ("desktop", "host-sanity", "ios", "rust")
    assert selected(example, "rust/src/lib.rs") >= {f"check-apple-{lane}" for lane in lanes}


# Each in another file, and seen through the whole of it; all mistakes are in mistakes.toml.
EDITS = {
    "a role that no image has": (
        "targets/default.nix",
        'incus.role = "linux-runner"',
        'incus.role = "linux-runer"',
        'incus.role: expected a role of images, found "linux-runer" (did you mean "linux-runner"?)',
    ),
    "a lane of no target": (
        "ci/forge-lanes.toml",
        'target = "pre-merge-rmp"',
        'target = "pre-merge-rpm"',
        "lanes[check-rmp].target: expected the id of a target, found",
    ),
    "a knob of another runtime": (
        "targets/apple-desktop.nix",
        "tart // {",
        'tart // { incus.role = "linux-runner";',
        'expected no incus knobs where runtime is "tart"',
    ),
    "a host command on another Mac": (
        "targets/pre-merge-apple-ios.nix",
        "xcode-project = macs // {",
        'xcode-project = macs // { labels = [ "mac-host" ];',
        'found "xcode-project", which runs on hosts with the labels "mac-host"',
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_a_wrong_edit_is_caught(tmp_path: Path, edit: tuple[str, str, str, str]) -> None:
    name, old, new, sentence = edit
    path = copied(tmp_path) / "examples/pika" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    done = evaluated(tmp_path)
    assert done.returncode == 1
    assert sentence in error_message(done)["raw_msg"]


def test_a_lanes_file_that_is_not_toml_is_named(example: Project) -> None:
    path = example.root / "examples/pika/ci/forge-lanes.toml"
    text = path.read_text()
    path.write_text(text.replace('"02:30"', '"02:30'))
    assert "ci/forge-lanes.toml" in example.here("plan", "pre-merge-pika-rust").refused()
    path.write_text(text)
