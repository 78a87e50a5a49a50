"""`pikaci init` and the first run after it, and what it leaves alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from e2e.machine_tools import find_programs, write_nixpkgs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from e2e.project import Done, Json, Project

FILES = ["flake.nix", "ci/default.nix", "ci/check.nix", "ci/forge-lanes.toml"]
PYTHON = {
    "pyproject.toml": '[project]\nname = "hello"\nversion = "1"\n',
    "src/hello.py": 'def hello():\n    return "hello"\n',
    "tests/test_hello.py": "from hello import hello\n\ndef test_hello():\n    assert hello()\n",
}
NODE = {
    "package.json": '{"name": "hello", "scripts": {"test": "node --test"}}',
    "hello.test.js": "require('node:test')('greets', () => {});\n",
}
GO = {
    "go.mod": "module example.org/hello\n\ngo 1.19\n",
    "hello.go": 'package hello\n\nfunc Hello() string { return "hello" }\n',
    "hello_test.go": (
        'package hello\n\nimport "testing"\n\n'
        'func TestHello(t *testing.T) {\n\tif Hello() == "" {\n\t\tt.Fail()\n\t}\n}\n'
    ),
}
RUST = {
    "Cargo.toml": '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/lib.rs": "#[test]\nfn greets() {}\n",
}
C = {"hello.c": "int main(void) { return 0; }\n"}
C_MAKE = {**C, "Makefile": "hello: hello.c\n\ntest: hello\n\t./hello\n"}
C_CMAKE = {
    **C,
    "CMakeLists.txt": (
        "cmake_minimum_required(VERSION 3.10)\nproject(hello C)\nenable_testing()\n"
        "add_executable(hello hello.c)\nadd_test(NAME hello COMMAND hello)\n"
    ),
}
SMALLEST = {
    "python": PYTHON,
    "python-without-tests": {"hello.py": "print('hello')\n"},
    "node": NODE,
    "node-without-tests": {"package.json": '{"name": "hello"}'},
    "go": GO,
    "rust": RUST,
    "c": C,
    "c-make": C_MAKE,
    "c-cmake": C_CMAKE,
}
PROGRAMS = {"rust": "cargo", "c": "cc", "c-make": "make", "c-cmake": "cmake"}


@pytest.fixture(scope="module")
def nixpkgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nixpkgs")
    write_nixpkgs(directory)
    return directory


def fill(project: Project, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        project.write(name, text)


def check(project: Project, nixpkgs: Path) -> tuple[Done, Json]:
    override = ("--override-input", "pikaci/nixpkgs", f"path:{nixpkgs}")
    done = project.here("run", "check", "--offline", *override, "--output", "json")
    return done, json.loads(done.out)


def init(project: Project, flake: Path, *args: str) -> Done:
    return project.here("init", *args, "--pikaci-url", f"path:{flake}").passed()


@pytest.mark.parametrize("kind", SMALLEST)
def test_the_first_run_of_the_smallest_project_is_green(
    fresh: Project, pikaci_flake: Path, nixpkgs: Path, kind: str
) -> None:
    language = kind.partition("-")[0]
    program = PROGRAMS.get(kind, language)
    assert program in find_programs(), f"{program} is missing: ci/bootstrap/packages.sh dev"
    fill(fresh, SMALLEST[kind])
    done = init(fresh, pikaci_flake)
    assert f"wrote {', '.join(FILES)}, for {language}\n" in done.err
    done, record = check(fresh, nixpkgs)
    assert record["status"] == "passed", done.err
    lanes = fresh.here("lanes", "--json").passed().json
    assert [lane["target"] for lane in lanes] == ["check"]


def test_pythons_packages_are_those_of_the_project_and_its_tests(
    fresh: Project, pikaci_flake: Path
) -> None:
    fresh.write(
        "pyproject.toml",
        """
        [project]
        dependencies = ["Jinja2>=3", "zope.interface", 'tomli; python_version < "3.11"']
        optional-dependencies = { test = ["pytest~=8.0", "hypothesis[cli]"], docs = ["sphinx"] }
        [dependency-groups]
        tests = ["trio", { include-group = "more" }]
        """,
    )
    init(fresh, pikaci_flake)
    listed = re.findall(
        r"^ +packages\.(\S+)$", fresh.path("ci/check.nix").read_text(), re.MULTILINE
    )
    assert listed == ["pytest", "hypothesis", "jinja2", "trio", "zope-interface"]


def test_a_test_that_fails_is_a_red_run(fresh: Project, pikaci_flake: Path, nixpkgs: Path) -> None:
    fill(fresh, {**PYTHON, "tests/test_more.py": "def test_more():\n    assert False\n"})
    init(fresh, pikaci_flake)
    _, record = check(fresh, nixpkgs)
    assert (record["status"], record["failure_kind"]) == ("failed", "test_failure")


MINE = """{
  description = "mine";
  inputs.nixpkgs.url = "path:@nixpkgs@";
@inputs@
  outputs = { nixpkgs, @argument@... }: {
    mine = true;
@outputs@
  };
}
"""


def mine(nixpkgs: Path, inputs: str = "", outputs: str = "") -> str:
    text = MINE.replace("@nixpkgs@", str(nixpkgs)).replace("@inputs@", inputs)
    return text.replace("@outputs@", outputs).replace("@argument@", "pikaci, " if inputs else "")


def test_a_flake_that_exists_is_left_as_it_is_and_works_with_the_lines_that_are_printed(
    fresh: Project, pikaci_flake: Path, nixpkgs: Path
) -> None:
    fill(fresh, {**PYTHON, "flake.nix": mine(nixpkgs)})
    done = init(fresh, pikaci_flake)
    assert fresh.path("flake.nix").read_text() == mine(nixpkgs)
    assert "left as it was: flake.nix\n" in done.err
    assert "add to flake.nix:\n" in done.err
    inputs, outputs = done.out.split("\n\n", 1)
    fresh.write("flake.nix", mine(nixpkgs, inputs, outputs))
    assert fresh.run("check", "--offline")["status"] == "passed"
    again = init(fresh, pikaci_flake)
    assert again.out == ""
    assert f"left as it was: {', '.join(FILES)}\n" in again.err
    assert "add to" not in again.err


def test_no_file_is_overwritten_nor_written_through_a_link(
    fresh: Project, pikaci_flake: Path
) -> None:
    fresh.write("ci/check.nix", "mine")
    for name in ("flake.nix", "ci/forge-lanes.toml"):
        fresh.tree.link(name, "/elsewhere/none")
    done = init(fresh, pikaci_flake, "go")
    assert fresh.path("ci/check.nix").read_text() == "mine"
    assert fresh.path("flake.nix").is_symlink()
    assert "wrote ci/default.nix, for go\n" in done.err
    assert "left as it was: flake.nix, ci/check.nix, ci/forge-lanes.toml\n" in done.err


def refusal(project: Project, *args: str) -> str:
    before = sorted(project.root.rglob("*"))
    sentence = project.here("init", *args).refused()
    assert sorted(project.root.rglob("*")) == before
    return sentence


def test_what_init_can_not_decide_it_asks_for(fresh: Project) -> None:
    fill(fresh, {**GO, **NODE})
    assert refusal(fresh) == (
        "pikaci: this project has files of node and go;"
        " name the one to begin with: `pikaci init node`"
    )


def test_init_refuses_a_pyproject_that_it_can_not_read(fresh: Project) -> None:
    fresh.write("pyproject.toml", "[project\n")
    assert refusal(fresh).startswith("pikaci: pyproject.toml can't be read: ")


def test_init_refuses_a_place_below_the_flake_and_a_ci_that_is_no_directory(fresh: Project) -> None:
    fresh.write("below/hello.py")
    fresh.tree.link("ci", "nowhere")
    assert refusal(fresh).endswith("/ci is not a directory; the targets belong there")
    fresh.write("flake.nix", "{ }")
    assert refusal(fresh.at(fresh.root / "below")) == (
        f"pikaci: the flake of this repository is in {fresh.root}; run `pikaci init` there"
    )


@pytest.mark.parametrize("url", ["", "pikaci", "https://a b", 'git+https://x/"', "path:${x}"])
def test_a_url_that_is_none_is_refused(fresh: Project, url: str) -> None:
    assert refusal(fresh, "--pikaci-url", url) == (
        f"pikaci: --pikaci-url {url!r} is neither a directory nor the URL of a flake,"
        " such as git+https://HOST/pikaci"
    )


def test_a_directory_is_a_url_too_and_said_to_be_on_this_machine_only(
    fresh: Project, pikaci_flake: Path
) -> None:
    done = fresh.here("init", "--pikaci-url", str(pikaci_flake)).passed()
    assert f'"path:{pikaci_flake}"' in fresh.path("flake.nix").read_text()
    assert f"path:{pikaci_flake} is on this machine only" in done.err
