"""This repository's own flake: its catalog and plans need no nixpkgs and no network."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from nix.evaluation import ROOT, run_nix

if TYPE_CHECKING:
    from pathlib import Path

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


def eval_output(flake: Path, attribute: str, select: str) -> Any:  # noqa: ANN401 - JSON
    # The leading dot: `pikaci` alone is first looked for among the packages.
    done = run_nix(
        "eval", "--json", "--offline", "--no-write-lock-file", f"path:{flake}#.{attribute}",
        "--apply", select,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def catalogs(flake: Path) -> Any:  # noqa: ANN401 - JSON
    """The catalog and all plans of each system, evaluated offline."""
    return eval_output(
        flake, "pikaci", "builtins.mapAttrs (_: it: { inherit (it) catalog plans; })"
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_catalog_has_every_plan_and_its_lane(catalogs: Any, system: str) -> None:  # noqa: ANN401
    catalog, plans = catalogs[system]["catalog"], catalogs[system]["plans"]
    targets = {target["id"] for target in catalog["targets"]}
    assert targets >= {"hello", "hello-guest", "check-orchestrator", "check-nix"}
    assert set(plans) == targets
    assert {plan["system"] for plan in plans.values()} == {system}
    lanes = catalog["lanes"]["branch"]
    assert {lane["target"] for lane in lanes} == targets - {"hello", "hello-guest"}
    assert [image["buildable"] for image in catalog["images"]] == [system.endswith("-linux")]


def test_the_library_is_an_output(flake: Path) -> None:
    names = ["appleRust", "linuxRust", "matrix", "mergeTargets", "mkCatalog", "stagedRust"]
    assert eval_output(flake, "lib", "builtins.attrNames") == names


def test_the_greeting_in_a_guest_is_where_nix_built_it(catalogs: Any) -> None:  # noqa: ANN401
    plan = catalogs["x86_64-linux"]["plans"]["hello-guest"]
    greeting, greet = plan["nodes"]
    assert plan["images"] == [
        {"role": "pikaci-runner", "alias": "pikaci/dev", "instance_type": "container"}
    ]
    assert (greet["placement"], greet["runtime"]) == ("local", "incus")
    assert greet["runtime_config"] == {"role": "pikaci-runner", "network": None}
    assert greet["execute"]["inputs"] == [
        {"node_id": greeting["id"], "env": "PIKACI_INPUT_GREETING", "guest_path": None}
    ]
