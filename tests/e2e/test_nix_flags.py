"""Nix's own flags reach Nix: a `nix` ahead of the real one notes how it was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, set_by

if TYPE_CHECKING:
    from pathlib import Path

FLAKE = """
{{
  inputs.greeting = {{ url = "path:{first}"; flake = false; }};
  outputs = {{ greeting, ... }}: {{
    pikaci = (import ./pikaci-lib).mkCatalog {{
      systems = [ "{system}" ];
      targets = system: {{
        said.jobs.it.command = "echo ${{builtins.readFile "${{greeting}}/text"}}";
        broken.jobs.it.command = throw "no way";
      }};
    }};
  }};
}}
"""


@pytest.fixture
def calls(project: Project) -> Path:
    return project.state.with_name("calls")


@pytest.fixture
def watched(project: Project, calls: Path) -> Project:
    noting = f'printf "%s " "$@" >> {calls}; echo >> {calls}; exec "$real" "$@"'
    # With that variable, what is there is rooted by Nix.
    return project.shimmed("nix", noting).with_env(NIX_REMOTE="local")


def test_flags_reach_evaluation_and_the_build(watched: Project, calls: Path) -> None:
    both = ("--offline", "--option", "cores", "1")
    evaluation = ("--show-trace", "--override-input", "x", "path:/x")
    watched.here("run", "hello", *both, *evaluation).passed()
    lines = calls.read_text().splitlines()
    for command, flags in (
        (" eval ", ("--offline", "--option cores 1", "--show-trace", "--override-input x path:/x")),
        (" build ", ("--offline", "--option cores 1")),
    ):
        found = [line for line in lines if command in line]
        assert any(all(flag in line for flag in flags) for line in found), found


def test_credentials_in_addresses_are_in_no_record_and_not_shown(project: Project) -> None:
    store = ("--store", "http://user:secret@127.0.0.1:1", "--option", "download-attempts", "1")
    other = ("--override-input", "x", "git+https://secret@127.0.0.1:1/x")
    done = project.here("run", "hello", *store, *other)
    assert done.code == 75, done.err
    assert "http://***@127.0.0.1:1" in done.err
    assert project.record()["overrides"] == {"x": "git+https://***@127.0.0.1:1/x"}
    files = [file for file in (project.state / "runs").rglob("*") if file.is_file()]
    assert not [file for file in files if b"secret" in file.read_bytes()]
    assert "secret" not in done.err


NIX_CONFIG = """{
  nixConfig = { extra-sandbox-paths = [ "/a" "/b" ]; cores = 3; keep-failed = true; };
  outputs"""
TRUSTED = "trusted-settings.json"
GIVEN = "--option cores 3 --option extra-sandbox-paths /a /b --option keep-failed true"


@pytest.mark.parametrize("by", ["nobody", "NIX_CONFIG", "--option", TRUSTED])
def test_a_build_has_what_the_flake_sets_if_it_is_accepted(
    watched: Project, calls: Path, tmp_path: Path, by: str
) -> None:
    flake = (watched.root / "flake.nix").read_text()
    watched.write("flake.nix", flake.replace("{\n  outputs", NIX_CONFIG, 1))
    watched = watched.with_env(XDG_DATA_HOME=str(tmp_path / "data"))
    given, flags = GIVEN, ["--option", "cores", "1"]
    if by == "NIX_CONFIG":
        watched = watched.with_env(**set_by(by, "accept-flake-config = true", tmp_path))
    elif by == "--option":
        flags = ["--option", "accept-flake-config", "true", *flags]
    elif by == TRUSTED:
        trusted = tmp_path / "data/nix" / TRUSTED
        trusted.parent.mkdir(parents=True)
        trusted.write_text('{"cores": {"3": true}, "extra-sandbox-paths": {"/a": true}}')
        given = "--option cores 3"
    done = watched.here("run", "hello", *flags).passed()
    assert ("'--option accept-flake-config true'" in done.err) is (by in {"nobody", TRUSTED})
    for command in ("run", "rerun"):
        if command == "rerun":
            calls.unlink()
            watched.here("rerun", "latest", *flags).passed()
        lines = [f"{line} " for line in calls.read_text().splitlines() if " build " in line]
        assert lines
        assert all((f"--option cores 1 {given} " in line) is (by != "nobody") for line in lines)


def test_all_is_built_in_one_call(watched: Project, calls: Path) -> None:
    watched.define(
        "  many = {"
        '    prepare = { a.drv = build "a" "echo > $out"; b.drv = build "b" "echo > $out"; };'
        '    jobs.it = { needs = [ "a" "b" ]; command = "true"; };'
        "  };"
    )
    watched.run("many")
    builds = [line for line in calls.read_text().splitlines() if " build --no-link " in line]
    assert len(builds) == 1
    calls.unlink()
    watched.run("many")
    assert " build --no-link " not in calls.read_text()


def test_an_input_can_be_overridden(project: Project, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    flake = FLAKE.format(first=tmp_path / "first", system=project.system)
    project.write("flake.nix", flake)
    project.run("said")
    assert "first" in project.log("it").splitlines()
    override = ("--override-input", "greeting", f"path:{tmp_path}/second")
    project.run("said", *override)
    assert "second" in project.log("it").splitlines()
    assert not (project.root / "flake.lock").exists()
    assert project.here("rerun", "latest").code == 0
    assert "second" in project.log("it").splitlines()


def test_a_trace_is_shown_to_those_who_ask(project: Project) -> None:
    project.define('  broken.jobs.it.command = throw "no way";')
    project.here("run", "broken").refused(2)
    done = project.here("run", "broken", "--show-trace")
    assert done.code == 2
    assert len(done.err.splitlines()) > 3
    assert done.err.splitlines()[-1].startswith("pikaci: ")


@pytest.mark.parametrize(
    ("where", "given", "is_auto"),
    [
        ("nowhere", "", True),
        ("NIX_CONFIG", "max-jobs = 1", False),
        ("NIX_CONFIG", "cores = 1 # max-jobs = 1", True),
        ("nix.conf", "!include here.conf", False),
        ("nix.conf", "build-max-jobs = 1", False),
        ("--option", "1", False),
    ],
)
def test_how_many_builds_run_at_once_is_nix_confs_to_say(
    watched: Project, calls: Path, tmp_path: Path, where: str, given: str, *, is_auto: bool
) -> None:
    (tmp_path / "here.conf").write_text("cores = 1\nmax-jobs = 1\n")
    if where in {"NIX_CONFIG", "nix.conf"}:
        watched = watched.with_env(**set_by(where, given, tmp_path))
    flags = ("--option", "max-jobs", given) if where == "--option" else ()
    watched.here("run", "hello", *flags).passed()
    (line,) = (row for row in calls.read_text().splitlines() if " build --no-link " in row)
    assert ("--max-jobs auto" in line) is is_auto


def test_nothing_is_built_where_nix_conf_says_so(project: Project, tmp_path: Path) -> None:
    project = project.with_env(**set_by("nix.conf", "max-jobs = 0", tmp_path))
    project.define("""
      one = {
        prepare.a.drv = build "a" "echo > $out";
        jobs.it = { needs = [ "a" ]; command = "true"; };
      };
      two = {
        prepare = { b.drv = build "b" "echo > $out"; c.drv = build "c" "echo > $out"; };
        jobs.it = { needs = [ "b" "c" ]; command = "true"; };
      };
    """)
    for target in ("one", "two"):
        assert project.here("run", target).code == 75
        record = project.record()
        assert record["failure_kind"] == "infrastructure"
        assert "max-jobs" in record["message"]
