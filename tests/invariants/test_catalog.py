"""Lanes and targets, read without Nix."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from invariants.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from invariants.checkout import Checkout

LANE = '[[branch.lanes]]\nid = "l"\ntarget = "t"\n'


def found(checkout: Checkout, targets: str, lanes: str = LANE) -> list[tuple[str, int, str]]:
    checkout.write("nix/ci/default.nix", targets)
    checkout.write("lanes.toml", lanes)
    checkout.rule("lanes-and-targets", ["**"], lanes="lanes.toml", targets="nix/ci/default.nix")
    return checkout.found()


@pytest.mark.parametrize(
    "targets",
    [
        '{ t = { trigger = "branch"; }; }',
        '{ t = rec { trigger = "branch"; }; }',
        'system: { "t" = { trigger = "branch"; jobs.a.command = "x; y"; }; }',
        '{ self, system, ... }@args: { t = { trigger = "branch"; }; }',
        'args@{ self }: let a = { b = 1; }; in { t = { trigger = "branch"; }; }',
        'system: ({ t = ({ trigger = "branch"; }); } // { u = { }; })',
        '{ t = rust.stage { trigger = "branch"; crate = "x"; }; }',
        '{ t = let x = 1; in { trigger = "branch"; y = let z = 1; in z; }; }',
        '{ t = { command = "${if a then "}" else "{"}; trigger = x"; trigger = "branch"; }; }',
        "{ t = { c = ''\n ''${a} } ${b { }} '''; trigger\n''; trigger = \"branch\"; }; }",
        '{ # t = { };\n /* } */ t = { trigger = "branch"; }; }',
    ],
)
def test_targets_are_read_in_their_usual_shapes(empty: Checkout, targets: str) -> None:
    assert found(empty, targets) == []


@pytest.mark.parametrize(
    "call", ["import ./t.nix", "import ./t.nix { inherit system; }", "import ./t"]
)
def test_targets_are_read_from_their_files(empty: Checkout, call: str) -> None:
    empty.write("nix/ci/t.nix", 'system: { trigger = "nightly"; }')
    empty.write("nix/ci/t/default.nix", 'system: { trigger = "nightly"; }')
    file = "nix/ci/t/default.nix" if call.endswith("/t") else "nix/ci/t.nix"
    assert found(empty, f"system: {{\n  t = {call};\n}}") == [
        ("lanes.toml", 1, "lane l names t, whose trigger is nightly"),
        (file, 1, "target t is for nightly lanes and has none"),
    ]


@pytest.mark.parametrize(
    "targets",
    [
        "builtins.mapAttrs f { t = { }; }",
        "{ t = import ./t.nix // { trigger = x; }; }",
        "{ t = { trigger = kind; }; }",
        "{ t = rust.targets.t; }",
        "{ inherit (other) t; }",
        "{ ${name} = { }; }",
        "{ t = { ",
        '{ t = "',
    ],
)
def test_other_shapes_are_refused_rather_than_guessed_at(empty: Checkout, targets: str) -> None:
    ((file, line, what),) = found(empty, targets)
    assert (file, line) == ("nix/ci/default.nix", 1)
    assert "--catalog" in what


@pytest.mark.parametrize(
    ("lane", "what"),
    [
        ('id = "l"\ntarget = "gone"', "lane l names the target gone, which isn't there"),
        ('id = "l"\ncommand = "make"', "lane l has a bare command"),
        ('id = "l"', "lane l has no target"),
        ('id = "l"\ntarget = "m"', "lane l names m, whose trigger is manual"),
    ],
)
def test_a_lane_that_does_not_fit_is_told(empty: Checkout, lane: str, what: str) -> None:
    targets = '{ t = { trigger = "branch"; }; m = { }; }'
    assert found(empty, targets, f"{LANE}\n[[branch.lanes]]\n{lane}\n") == [("lanes.toml", 5, what)]


def test_older_files_say_it_otherwise(empty: Checkout) -> None:
    lanes = LANE.replace("target", "staged_linux_target")
    assert found(empty, '{ t = { trigger = "branch"; }; }', lanes) == []


def test_a_target_without_its_lane_is_told(empty: Checkout) -> None:
    targets = '{ t = { trigger = "branch"; };\n  u = { trigger = "nightly"; };\n'
    targets += '  v = { trigger = "daily"; }; }'
    assert found(empty, targets) == [
        ("nix/ci/default.nix", 2, "target u is for nightly lanes and has none"),
        ("nix/ci/default.nix", 3, "target v has the trigger 'daily'"),
    ]


def test_lanes_that_are_no_toml_are_told_with_their_line(empty: Checkout) -> None:
    ((file, line, what),) = found(empty, "{ }", 'version = 1\n[[branch.lanes]\nid = "l"\n')
    assert (file, line) == ("lanes.toml", 2)
    assert what.startswith("not TOML")


def test_files_that_are_missing_are_told(empty: Checkout) -> None:
    what = "this file is needed here and can't be read"
    assert found(empty, "{ t = import ./t.nix; }") == [("nix/ci/t.nix", 1, what)]


def test_nix_own_answer_comes_first(empty: Checkout, tmp_path: Path) -> None:
    answer = tmp_path / "catalog.json"
    answer.write_text(json.dumps({"targets": [{"id": "t", "trigger": "branch"}]}))
    assert len(found(empty, "computed")) == 1
    assert empty.found("--catalog", str(answer)) == []


def test_a_script_runs_every_branch_lane(empty: Checkout) -> None:
    empty.write("lanes.toml", f"{LANE}{LANE.replace('t', 'u')}")
    empty.write("named.sh", "# all\nlanes=(t)\n")
    empty.write("asks.sh", "pikaci lanes --json\n")
    empty.rule("lane-runner", ["*.sh"], lanes="lanes.toml")
    empty.write("lanes.toml", LANE + LANE.replace('"t"', '"u"'))
    assert empty.found() == [("named.sh", 2, "does not run u of lane l")]


def test_reading_the_files_gives_what_nix_gives(own: Checkout, tmp_path: Path) -> None:
    """The checker's own reading against Nix's, on this repository's catalog."""
    flake = tmp_path / "flake"
    for name in ("nix", "ci"):
        shutil.copytree(ROOT / name, flake / name)
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(ROOT / name, flake)
    done = subprocess.run(
        [
            *("nix", "--extra-experimental-features", "nix-command flakes", "eval", "--json"),
            *("--offline", "--no-write-lock-file"),
            f"path:{flake}#.pikaci.x86_64-linux.catalog",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer = tmp_path / "catalog.json"
    answer.write_text(done.stdout)
    targets = {row["id"]: row["trigger"] for row in json.loads(done.stdout)["targets"]}
    # Without lanes the checker tells every target that should have one.
    own.write("ci/forge-lanes.toml", "version = 1\n")
    read = own.found("lanes-and-targets-agree")
    told = own.found("lanes-and-targets-agree", "--catalog", str(answer))
    assert {what for _, _, what in read} == {what for _, _, what in told}
    assert len(read) == sum(trigger != "manual" for trigger in targets.values())
