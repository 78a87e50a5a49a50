"""The flake's outputs with the real nix, offline: tests/nixpkgs-stub is a fake of nixpkgs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nix.evaluation import ROOT, run_nix
from usertree import UserTree

SYSTEMS = {"x86_64-linux", "aarch64-linux", "aarch64-darwin"}
IMAGES = {"incus-image", "incus-image-container"}
CHECKS = {"catalog", "dev-shell", "forge", "invariants", "overlay", "pikaci", "unit-tests"}
FAKE = ("--offline", "--override-input", "nixpkgs", "path:./tests/nixpkgs-stub")
DEADLINE_SECS = 300.0


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what this one has, without what git ignores."""
    tree = UserTree(tmp_path_factory.mktemp("checkout")).init()
    ours = (".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "result*")
    shutil.copytree(ROOT, tree.root, ignore=shutil.ignore_patterns(*ours), dirs_exist_ok=True)
    tree.commit()
    return tree.root


def nix(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run nix as a user does in the checkout, with this Python as the machine's."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    state = {"PIKACI_STATE_ROOT": f"{checkout}.state", "PATH": tools}
    done = subprocess.run(
        ["nix", "--extra-experimental-features", "nix-command flakes", *arguments],
        cwd=checkout, env=os.environ | state,
        capture_output=True, text=True, check=False, timeout=DEADLINE_SECS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def evaluate(checkout: Path, attribute: str, function: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(
        nix(checkout, "eval", "--json", *FAKE, f".#{attribute}", "--apply", function).stdout
    )


def test_hello_runs(checkout: Path) -> None:
    done = nix(checkout, "run", ".#pikaci", *FAKE, "--", "run", "hello", "--output", "json")
    record = json.loads(done.stdout)
    assert (record["target_id"], record["status"]) == ("hello", "passed")
    assert record["git_dirty"] is False


def test_the_default_app_is_pikaci(checkout: Path) -> None:
    done = nix(checkout, "run", *FAKE, ".", "--", "--version")
    assert done.stdout.startswith("pikaci ")


def test_the_flake_checks_out(checkout: Path) -> None:
    done = nix(checkout, "flake", "check", *FAKE)
    warnings = {line for line in done.stderr.splitlines() if line.startswith("warning: unknown")}
    assert warnings <= {"warning: unknown flake output 'pikaci'"}


def test_every_output_of_every_system_evaluates(checkout: Path) -> None:
    nix(checkout, "flake", "check", "--no-build", "--all-systems", *FAKE)


def test_the_flake_shows_what_a_nix_user_looks_for(checkout: Path) -> None:
    shown: Any = json.loads(nix(checkout, "flake", "show", "--json", "--all-systems", *FAKE).stdout)
    both = {"default", "pikaci"}
    assert {system: set(names) for system, names in shown["packages"].items()} == {
        "x86_64-linux": both | {"forge"} | IMAGES,
        "aarch64-linux": both | {"forge"} | IMAGES,
        "aarch64-darwin": both | {"forge"},
    }
    assert {system: set(names) for system, names in shown["apps"].items()} == dict.fromkeys(
        SYSTEMS, both
    )
    for names in shown["checks"].values():
        assert set(names) >= CHECKS
    assert set(shown["checks"]) == set(shown["devShells"]) == set(shown["formatter"]) == SYSTEMS
    assert set(shown["nixosModules"]) >= {"default", "guest", "incus-host"}
    assert set(shown["overlays"]) == set(shown["templates"]) == {"default"}
    assert {"flakeModules", "lib", "pikaci"} <= set(shown)


@pytest.mark.parametrize(
    ("package", "rootfs"),
    [("incus-image", "disk.qcow2"), ("incus-image-container", "rootfs.squashfs")],
)
def test_an_image_is_two_files_whose_names_say_what_they_are(
    checkout: Path, package: str, rootfs: str
) -> None:
    done = nix(checkout, "build", *FAKE, "--no-link", "--print-out-paths", f".#{package}")
    files = {path.name: path for path in Path(done.stdout.strip()).iterdir()}
    assert set(files) == {"metadata.tar.xz", rootfs}
    assert all(path.is_file() for path in files.values())


def test_the_catalogs_image_is_the_package(checkout: Path) -> None:
    image = evaluate(checkout, ".pikaci.x86_64-linux.images.pikaci-runner", "it: it")
    package = evaluate(checkout, "packages.x86_64-linux.incus-image-container", "it: it.drvPath")
    assert (image["alias"], image["instance_type"]) == ("pikaci/dev", "container")
    assert image["drv_path"] == package


def named(requirements: list[str]) -> set[str]:
    """The packages that requirements name."""
    return {re.split(r"[^A-Za-z0-9-]", name, maxsplit=1)[0] for name in requirements}


def test_the_packages_have_what_the_project_depends_on(checkout: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = evaluate(
        checkout,
        "packages.x86_64-linux",
        "its: builtins.mapAttrs (_: it: map (it: it.name) (it.dependencies or [ ])) its",
    )
    needed = named(project["dependencies"])
    assert set(given["pikaci"]) == needed
    assert set(given["forge"]) == needed | named(project["optional-dependencies"]["forge"])


def test_the_package_has_the_version_of_the_project(checkout: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = evaluate(
        checkout,
        "packages.x86_64-linux.pikaci",
        "it: [ it.version it.meta.description it.meta.mainProgram ]",
    )
    assert found == [project["version"], project["description"], "pikaci"]


def test_the_package_has_every_file_that_a_wheel_is_made_of(checkout: Path) -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = hatch["targets"]["wheel"]
    named = {*wheel["force-include"], wheel["hooks"]["custom"]["path"]}
    source = Path(evaluate(checkout, "packages.x86_64-linux.pikaci", "it: it.src.outPath"))
    assert {name for name in named if not (source / name).exists()} == set()


def test_the_forge_is_a_package_of_its_own_and_runs_its_own_pikaci(checkout: Path) -> None:
    built = {}
    for package in ("pikaci", "forge"):
        done = nix(checkout, "build", *FAKE, "--no-link", "--print-out-paths", f".#{package}")
        built[package] = Path(done.stdout.strip()) / "bin"
    assert {path.name for path in built["pikaci"].iterdir()} == {"pikaci"}
    assert {path.name for path in built["forge"].iterdir()} == {"pikaci", "pika-git", "ph"}
    assert f"{built['forge']}:$PATH" in (built["forge"] / "pika-git").read_text()


def test_defaults_are_what_they_are_called(checkout: Path) -> None:
    same = "builtins.mapAttrs (_: its: its.default.drvPath == its.pikaci.drvPath)"
    assert evaluate(checkout, "packages", same) == dict.fromkeys(SYSTEMS, True)


def test_the_overlay_adds_pikaci_and_nothing_else(checkout: Path) -> None:
    names = "overlay: builtins.attrNames (overlay { } { })"
    assert evaluate(checkout, "overlays.default", names) == ["pikaci"]


def test_outputs_that_are_files_are_there(checkout: Path) -> None:
    paths = "builtins.mapAttrs (_: builtins.pathExists)"
    modules = evaluate(checkout, "nixosModules", paths)
    assert all(modules.values()), modules
    assert evaluate(checkout, "flakeModules", paths) == {"default": True}


def test_the_programs_of_the_user_come_before_the_packaged_ones_but_for_bash(
    checkout: Path,
) -> None:
    done = nix(checkout, "build", *FAKE, "--no-link", "--print-out-paths", ".#pikaci")
    wrapper = (Path(done.stdout.strip()) / "bin/pikaci").read_text()
    (prefix,) = re.findall(r"^export PATH=([^$\n]*):\$PATH$", wrapper, re.MULTILINE)
    (suffix,) = re.findall(r"^export PATH=\$PATH:(.*)$", wrapper, re.MULTILINE)
    assert programs(prefix) == {"bash"}
    assert programs(suffix) >= {"git", "nix", "nix-prefetch-git", "openssh"}


def programs(path: str) -> set[str]:
    return {Path(directory).parent.name.partition("-")[2] for directory in path.split(":")}


def test_editing_documents_and_tests_leaves_the_package_as_it_is(
    checkout: Path, tmp_path: Path
) -> None:
    edited = shutil.copytree(checkout, tmp_path / "edited")
    package = ("packages.x86_64-linux.pikaci", "its: its.drvPath")
    before = evaluate(edited, *package)
    for name in ("README.md", "docs/nix.md", "tests/usertree.py", "nix/ci/hello.nix"):
        append(edited / name)
    assert evaluate(edited, *package) == before
    append(edited / "orchestrator/pikaci/__init__.py")
    assert evaluate(edited, *package) != before


def append(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize("attribute", ["lib", "pikaci", "checks.x86_64-linux.catalog.drvPath"])
def test_the_library_and_the_catalog_never_look_at_nixpkgs(
    checkout: Path, tmp_path: Path, attribute: str
) -> None:
    (tmp_path / "flake.nix").write_text('{ outputs = _: throw "nixpkgs is looked at"; }')
    done = run_nix(
        "eval", "--offline", "--override-input", "nixpkgs", f"path:{tmp_path}",
        f"path:{checkout}#.{attribute}", "--apply", "it: builtins.typeOf it",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
