"""This repository's own flake: its catalog and plans need no nixpkgs and no network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nix.evaluation import ROOT, run_nix

SYSTEMS = ["x86_64-linux", "aarch64-linux", "aarch64-darwin"]


@pytest.fixture(scope="module")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the flake reads to evaluate its catalog."""
    copy = tmp_path_factory.mktemp("flake")
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(ROOT / name, copy)
    for name in ("nix", "ci"):
        shutil.copytree(ROOT / name, copy / name)
    return copy


def eval_output(flake: Path, attribute: str, *options: str) -> object:
    # The leading dot: `pikaci` alone is first looked for among the packages.
    done = run_nix(
        "eval", "--json", "--offline", "--no-write-lock-file", *options,
        f"path:{flake}#.{attribute}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_catalog_and_every_plan_evaluate_offline(flake: Path, system: str) -> None:
    select = "it: { inherit (it) catalog plans; }"
    both: Any = eval_output(flake, f"pikaci.{system}", "--apply", select)
    targets = {target["id"] for target in both["catalog"]["targets"]}
    assert targets >= {"hello", "hello-guest", "check-orchestrator", "check-nix"}
    assert set(both["plans"]) == targets
    assert {plan["system"] for plan in both["plans"].values()} == {system}
    lanes = both["catalog"]["lanes"]["branch"]
    assert {lane["target"] for lane in lanes} == targets - {"hello", "hello-guest"}


def test_the_library_is_an_output(flake: Path) -> None:
    names = ["appleRust", "linuxRust", "mergeTargets", "mkCatalog", "stagedRust"]
    assert eval_output(flake, "lib", "--apply", "builtins.attrNames") == names


def test_the_greeting_in_a_guest_is_where_nix_built_it(flake: Path) -> None:
    plan: Any = eval_output(flake, "pikaci.x86_64-linux.plans.hello-guest")
    greeting, greet = plan["nodes"]
    assert plan["images"] == [
        {"role": "pikaci-runner", "alias": "pikaci/dev", "instance_type": "container"}
    ]
    assert (greet["placement"], greet["runtime"]) == ("local", "incus")
    assert greet["runtime_config"] == {"role": "pikaci-runner", "network": None}
    assert greet["execute"]["inputs"] == [
        {"node_id": greeting["id"], "env": "PIKACI_INPUT_GREETING", "guest_path": None}
    ]


def test_only_linux_builds_the_image(flake: Path) -> None:
    select = "builtins.mapAttrs (_: it: map (image: image.buildable) it.catalog.images)"
    assert eval_output(flake, "pikaci", "--apply", select) == {
        "x86_64-linux": [True],
        "aarch64-linux": [True],
        "aarch64-darwin": [False],
    }


def test_hello_builds_with_a_shell_and_nothing_else(flake: Path) -> None:
    system: Any = eval_output(flake, "pikaci", "--apply", "_: builtins.currentSystem", "--impure")
    plan: Any = eval_output(flake, f"pikaci.{system}.plans.hello")
    greeting, greet = plan["nodes"]
    done = run_nix(
        "build", "--offline", "--no-link", "--print-out-paths", greeting["prepare"]["installable"]
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == greeting["prepare"]["out_path"]
    assert Path(done.stdout.strip()).read_text() == f"Hello from a derivation for {system}\n"
    assert greet["execute"]["inputs"][0]["env"] == "PIKACI_INPUT_GREETING"
