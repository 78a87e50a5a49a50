from __future__ import annotations

from typing import TYPE_CHECKING

from nix.evaluation import evaluate

if TYPE_CHECKING:
    from pathlib import Path

LANES = """
version = 1
nightly_schedule_utc = "03:00"

[[branch.lanes]]
id = "greeting"
title = "Greeting"
target = "hello"
paths = ["src/**", "*.{nix,lock}", "[!a]b"]
concurrency_group = "linux"

[[branch.lanes]]
id = "older"
staged_linux_target = "hello"

[[nightly.lanes]]
id = "night"
target = "night"
"""
TARGETS = """{
  hello = {
    title = "Hello";
    trigger = "branch";
    jobs = { a.command = "true"; b.command = "true"; };
  };
  night = { description = "At night"; trigger = "nightly"; jobs.a.command = "true"; };
}"""


def test_a_catalog_lists_targets_lanes_and_images(tmp_path: Path) -> None:
    (tmp_path / "lanes.toml").write_text(LANES)
    images = 'images.runner.alias = "pikaci/dev";'
    assert evaluate(
        f"(mk {{ lanes = {tmp_path}/lanes.toml; {images} targets = _: {TARGETS}; }}).catalog"
    ) == {
        "schema_version": 1,
        "system": "x86_64-linux",
        "targets": [
            {
                "id": "hello",
                "title": "Hello",
                "description": "Hello",
                "trigger": "branch",
                "jobs": ["a", "b"],
            },
            {
                "id": "night",
                "title": "night",
                "description": "At night",
                "trigger": "nightly",
                "jobs": ["a"],
            },
        ],
        "lanes": {
            "nightly_schedule_utc": "03:00",
            "branch": [
                {
                    "id": "greeting",
                    "title": "Greeting",
                    "target": "hello",
                    "paths": ["src/**", "*.{nix,lock}", "[!a]b"],
                    "concurrency_group": "linux",
                },
                {
                    "id": "older",
                    "title": "older",
                    "target": "hello",
                    "paths": [],
                    "concurrency_group": None,
                },
            ],
            "nightly": [
                {
                    "id": "night",
                    "title": "night",
                    "target": "night",
                    "paths": [],
                    "concurrency_group": None,
                }
            ],
        },
        "images": [
            {
                "role": "runner",
                "alias": "pikaci/dev",
                "instance_type": "virtual-machine",
                "buildable": False,
            }
        ],
    }


def test_a_catalog_forces_no_derivation() -> None:
    catalog = evaluate(
        "(target {"
        ' prepare.dep.drv = throw "forced";'
        ' prepare.made.hostCommand = { command = throw "forced"; outputs = [ "x" ]; };'
        ' jobs.greet = { command = throw "forced"; env.A = throw "forced"; needs = [ "dep" ]; };'
        "}).catalog"
    )
    assert [target["id"] for target in catalog["targets"]] == ["hello"]


def test_a_catalog_forces_no_image() -> None:
    catalog = evaluate(
        "(mk { images = {"
        '  a = { alias = "a"; package = throw "forced"; };'
        '  b = { alias = "b"; package = system: throw "forced"; };'
        '  c.alias = "c"; }; }).catalog'
    )
    assert {image["role"]: image["buildable"] for image in catalog["images"]} == {
        "a": True,
        "b": True,
        "c": False,
    }


def test_a_plan_forces_no_other_targets_derivations() -> None:
    plan = evaluate(
        '(catalog { hello.jobs.greet.command = "true";'
        ' broken = { prepare.dep.drv = throw "forced"; jobs.x.command = throw "forced"; }; })'
        ".plans.hello"
    )
    assert plan["target_id"] == "hello"


def test_an_empty_catalog_is_one() -> None:
    assert evaluate("all (mk { })") == {
        "catalog": {
            "schema_version": 1,
            "system": "x86_64-linux",
            "targets": [],
            "lanes": {"nightly_schedule_utc": None, "branch": [], "nightly": []},
            "images": [],
        },
        "hosts": {},
        "plans": {},
        "images": {},
    }


def test_a_system_has_its_own_targets_and_their_lanes(tmp_path: Path) -> None:
    (tmp_path / "lanes.toml").write_text(
        'version = 1\n[[branch.lanes]]\nid = "mac"\ntarget = "mac"\n'
        '[[branch.lanes]]\nid = "linux"\ntarget = "linux"\n'
    )
    both = evaluate(
        "builtins.mapAttrs (_: it: it.catalog) (lib.mkCatalog {"
        ' systems = [ "x86_64-linux" "aarch64-darwin" ];'
        f" lanes = {tmp_path}/lanes.toml;"
        " targets = system: {"
        '  ${if system == "x86_64-linux" then "linux" else "mac"} ='
        '   { trigger = "branch"; jobs.x.command = "true"; }; }; })'
    )
    named = {
        system: (
            [target["id"] for target in catalog["targets"]],
            [lane["id"] for lane in catalog["lanes"]["branch"]],
        )
        for system, catalog in both.items()
    }
    assert named == {
        "x86_64-linux": (["linux"], ["linux"]),
        "aarch64-darwin": (["mac"], ["mac"]),
    }


def test_a_lanes_path_may_be_a_string(tmp_path: Path) -> None:
    (tmp_path / "lanes.toml").write_text("version = 1\n")
    assert evaluate(f'(mk {{ lanes = "{tmp_path}/lanes.toml"; }}).catalog.lanes.branch') == []
