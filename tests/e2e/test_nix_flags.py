"""Nix's own flags reach Nix: a `nix` ahead of the real one notes how it was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, shim

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
    shims = project.state.with_name("shims")
    path = shim(shims, "nix", f'printf "%s " "$@" >> {calls}; echo >> {calls}; exec "$real" "$@"')
    return project.with_env(PATH=path)


@pytest.mark.parametrize(
    ("flags", "evaluated", "built"),
    [
        (("--offline",), "--offline", "--offline"),
        (("--option", "cores", "1"), "--option cores 1", "--option cores 1"),
        (("--show-trace",), "--show-trace", ""),
        (("--override-input", "x", "path:/x"), "--override-input x path:/x", ""),
    ],
)
def test_a_flag_reaches_evaluation_and_the_build(
    watched: Project, calls: Path, flags: tuple[str, ...], evaluated: str, built: str
) -> None:
    watched.pikaci("run", "hello", *flags).passed()
    lines = calls.read_text().splitlines()
    assert [line for line in lines if " eval " in line and evaluated in line]
    assert [line for line in lines if " build " in line and built in line]


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
    assert project.pikaci("rerun", "latest").code == 0
    assert "second" in project.log("it").splitlines()


def test_a_trace_is_shown_to_those_who_ask(project: Project) -> None:
    project.define('  broken.jobs.it.command = throw "no way";')
    project.pikaci("run", "broken").refused(2)
    done = project.pikaci("run", "broken", "--show-trace")
    assert done.code == 2
    assert len(done.err.splitlines()) > 3
    assert done.err.splitlines()[-1].startswith("pikaci: ")
