"""Another repository that uses this one, from `nix flake init` to a run, and its mistakes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.project import Done, Project

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = ("--extra-experimental-features", "nix-command flakes")
GREET = """
{ system, ... }:
{
  description = "Greets";
  prepare.greeting.drv = derivation {
    name = "greeting";
    inherit system;
    builder = "/bin/sh";
    args = [ "-c" "echo hello from another repository > $out" ];
  };
  jobs.greet = {
    needs = [ "greeting" ];
    command = "cat $PIKACI_INPUT_GREETING";
  };
}
"""
JOB_KEYS = (
    "artifacts, caches, command, description, devShell, env, host, hostProcess, incus, labels,"
    " needs, network, packages, passEnv, placement, resources, retries, runAsRoot, runtime,"
    " secrets, services, silenceSecs, tart, timeoutSecs, writableWorkspace"
)


@pytest.fixture
def another(bare_project: Project, pikaci_flake: Path) -> Project:
    """A fresh repository made from the template, which says where pikaci is."""
    for path in sorted(bare_project.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bare_project.tree.init()
    init(bare_project, pikaci_flake)
    edit(bare_project, "flake.nix", "git+https://example.org/pikaci", f"path:{pikaci_flake}")
    return bare_project


def nix(project: Project, *args: str) -> Done:
    done = subprocess.run(
        ["nix", *FEATURES, *args],
        cwd=project.root,
        env=project.env(),
        capture_output=True,
        check=False,
        timeout=90,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def init(project: Project, flake: Path) -> None:
    nix(project, "flake", "init", "--offline", "-t", f"path:{flake}").passed()


def edit(project: Project, name: str, old: str, new: str) -> None:
    text = (project.root / name).read_text()
    assert text.count(old) >= 1, f"{old!r} is not in {name}"
    project.write(name, text.replace(old, new, 1))


def add_target(project: Project) -> None:
    project.write("ci/greet.nix", GREET)
    edit(project, "ci/default.nix", "{\n", "{\n  greet = import ./greet.nix arguments;\n")


def test_the_template_runs_as_it_is_and_with_a_warning_until_it_is_locked(
    another: Project,
) -> None:
    done = another.here("run", "check", "--offline").passed()
    assert (
        "pikaci: flake.lock does not pin nixpkgs, pikaci yet; to pin it: `nix flake lock`\n"
        in done.err
    )
    record = another.record()
    assert [(job["id"], job["status"]) for job in record["jobs"]] == [
        ("build", "passed"),
        ("test", "passed"),
    ]
    (artifact,) = record["jobs"][0]["artifacts"]
    (kept,) = another.run_dir().rglob("loud.txt")
    assert artifact["path"].endswith("loud.txt")
    assert kept.read_text().startswith("HELLO FROM ")
    assert not (another.root / "flake.lock").exists()
    another.tree.git("add", "--all")
    nix(another, "flake", "lock", "--offline").passed()
    done = another.here("run", "check", "--offline").passed()
    assert "flake.lock" not in done.err


def test_the_template_has_a_lane_for_every_change(another: Project) -> None:
    (lane,) = another.here("lanes", "--json").passed().json
    assert (lane["trigger"], lane["target"], lane["paths"]) == ("branch", "check", [])


def test_a_placeholder_for_pikaci_can_be_overridden(another: Project, pikaci_flake: Path) -> None:
    edit(another, "flake.nix", f"path:{pikaci_flake}", "git+https://example.org/pikaci")
    override = ("--override-input", "pikaci", f"path:{pikaci_flake}")
    assert another.run("check", "--offline", *override)["status"] == "passed"


def test_nothing_of_it_looks_at_pikacis_nixpkgs(another: Project, tmp_path: Path) -> None:
    (tmp_path / "forced").mkdir()
    (tmp_path / "forced/flake.nix").write_text('{ outputs = _: throw "nixpkgs was looked at"; }')
    override = ("--override-input", "pikaci/nixpkgs", f"path:{tmp_path}/forced")
    another.here("targets", *override).passed()
    assert another.run("check", *override)["status"] == "passed"


def test_the_template_leaves_what_a_repository_has(
    bare_project: Project, pikaci_flake: Path
) -> None:
    (bare_project.root / "flake.nix").unlink()
    mine = [bare_project.write(name, "mine") for name in ("README.md", ".gitignore")]
    init(bare_project, pikaci_flake)
    assert [path.read_text() for path in mine] == ["mine", "mine"]


def test_a_target_is_added_and_run(another: Project) -> None:
    add_target(another)
    assert "greet" in another.here("targets", "--offline").passed().out
    record = another.run("greet", "--offline")
    assert record["status"] == "passed"
    assert "hello from another repository" in another.log("greet")


MISTAKES = [
    # a file, what is there and what instead; the sentence
    (
        "ci/greet.nix",
        "needs =",
        "need =",
        (
            f"targets.greet.jobs.greet: expected only the keys {JOB_KEYS},"
            ' found "need" (did you mean "needs"?)'
        ),
    ),
    (
        "ci/greet.nix",
        '[ "greeting" ]',
        '[ "greetings" ]',
        (
            "targets.greet.jobs.greet.needs: expected prepares and jobs of this target,"
            ' found "greetings" (did you mean "greeting"?)'
        ),
    ),
    (
        "ci/greet.nix",
        "jobs.greet = {",
        'jobs.greet = {\n    timeoutSecs = "2m";',
        'targets.greet.jobs.greet.timeoutSecs: expected a positive integer, found the string "2m"',
    ),
    (
        "ci/forge-lanes.toml",
        'target = "check"',
        'target = "chekc"',
        (
            "lanes.branch.lanes[check].target: expected the id of a target,"
            ' found "chekc" (did you mean "check"?)'
        ),
    ),
    (
        "ci/greet.nix",
        '"Greets";',
        '"Greets"',
        (
            "the flake does not evaluate at ci/greet.nix:5:24: syntax error, unexpected '=',"
            " expecting ';'; --show-trace shows more"
        ),
    ),
]


def test_a_mistake_is_one_sentence(another: Project) -> None:
    add_target(another)
    nix(another, "flake", "lock", "--offline", f"path:{another.root}").passed()
    for name, old, new, sentence in MISTAKES:
        right = (another.root / name).read_text()
        edit(another, name, old, new)
        assert another.here("run", "greet", "--offline").refused() == f"pikaci: {sentence}"
        another.write(name, right)
    assert another.run_ids() == []
