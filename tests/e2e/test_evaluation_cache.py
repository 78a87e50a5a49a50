"""A plan is evaluated once, and again as soon as anything that it depends on has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.project import HELLO, Project, shim

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK: dict[str, object] = {"nodes": {"root": {}}, "root": "root", "version": 7}
READ = 'if builtins.pathExists ./read then builtins.readFile ./read else ""'
WITH_INPUT = """
{
  inputs.texts = { url = "@url@"; flake = false; };
  outputs = { texts, ... }: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      targets = _: { hello.jobs.greet.command = builtins.readFile "${texts}/text"; };
    };
  };
}
"""


class Counted:
    """A project, and how often its flake was evaluated."""

    def __init__(self, project: Project) -> None:
        self._log = project.state.with_name("evaluations")
        self._log.touch()
        self.project = project.shimmed("nix", f"echo x >> {self._log}", of="eval")

    def evaluations(self, *command: str, by: Project | None = None) -> int:
        """How often a command evaluates, which passes."""
        before = len(self._log.read_bytes())
        (by or self.project).here(*(command or ("plan", "hello"))).passed()
        return (len(self._log.read_bytes()) - before) // 2


@pytest.fixture
def counted(project: Project) -> Counted:
    """A repository whose plan has been evaluated once."""
    counted = Counted(project)
    assert counted.evaluations() == 1
    assert counted.evaluations() == 0
    return counted


def nix(*argv: str) -> None:
    features = ("--extra-experimental-features", "nix-command flakes")
    subprocess.run(["nix", *features, *argv], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("changed", "change"),
    [
        ("a file", lambda p: p.write("new")),
        ("a file's mode", lambda p: (p.root / "targets.nix").chmod(0o755)),
        ("the lock", lambda p: p.write("flake.lock", json.dumps(LOCK))),
        ("the library", lambda p: p.write("pikaci-lib/extra.nix", "{ }")),
    ],
)
def test_a_changed_tree_is_evaluated_again(
    counted: Counted, changed: str, change: Callable[[Project], object]
) -> None:
    change(counted.project)
    assert counted.evaluations() == 1, changed
    assert counted.evaluations() == 0, changed


def test_what_a_command_line_asks_for_is_evaluated_for_itself(counted: Counted) -> None:
    project = counted.project
    for more in (
        ("plan", "hello", "--option", "max-call-depth", "9999"),
        ("plan", "hello", "--system", project.system),
        ("targets",),
        ("run", "hello"),
    ):
        assert counted.evaluations(*more) == 1, more
        assert counted.evaluations(*more) == 0, more


def test_another_nix_or_other_settings_of_it_evaluate_again(counted: Counted) -> None:
    project, home = counted.project, Path(counted.project.environment["HOME"])
    script = Path(project.environment["PATH"].partition(":")[0]) / "nix"
    script.write_text(script.read_text() + "\n# another\n")
    assert counted.evaluations() == 1
    (home / ".config/nix").mkdir(parents=True)
    for name, text in (
        ("nix.conf", "!include more.conf"),
        ("more.conf", "max-call-depth = 9998"),
        ("more.conf", "max-call-depth = 9997"),
    ):
        (home / ".config/nix" / name).write_text(f"{text}\n")
        assert counted.evaluations() == 1
        assert counted.evaluations() == 0
    config = os.environ.get("NIX_CONFIG", "")
    other = project.with_env(NIX_CONFIG=f"{config}\nmax-call-depth = 9996")
    assert counted.evaluations(by=other) == 1
    assert counted.evaluations(by=other) == 0


def test_a_nix_that_a_script_starts_is_known_by_its_file(counted: Counted, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    shim(inner, "nix", 'exec "$real" "$@"')
    outer = Path(counted.project.environment["PATH"].partition(":")[0]) / "nix"
    real = next(line for line in outer.read_text().splitlines() if line.startswith("real="))
    outer.write_text(outer.read_text().replace(real, f"real={inner}/nix"))
    assert counted.evaluations() == 1
    assert counted.evaluations() == 0
    (inner / "nix").write_text((inner / "nix").read_text() + "\n# newer\n")
    assert counted.evaluations() == 1
    outer.write_text('#!/bin/sh\nPATH=${PATH#*:}\nexec nix "$@"\n')
    assert counted.project.here("plan", "hello").passed()
    answers = set((counted.project.state / "answers").iterdir())
    counted.project.here("plan", "hello").passed()
    assert set((counted.project.state / "answers").iterdir()) == answers


@pytest.mark.parametrize("how", ["lock", "override", "unlocked"])
def test_an_input_behind_a_path_is_evaluated_each_time(
    project: Project, tmp_path: Path, how: str
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "text").write_text("echo first")
    flake = WITH_INPUT.replace("@system@", project.system)
    project.write("flake.nix", flake.replace("@url@", f"path:{texts}"))
    if how != "unlocked":
        nix("flake", "lock", f"path:{project.root}")
    counted = Counted(project)
    options = ("--override-input", "texts", f"path:{texts}") if how == "override" else ()
    for _ in range(2):
        assert counted.evaluations("plan", "hello", *options) == 1
    (texts / "text").write_text("echo second")
    if how == "lock":
        nix("flake", "update", "--flake", f"path:{project.root}")
    shown = counted.project.here("plan", "hello", *options, "--json").passed().out
    assert "echo second" in shown


def test_an_input_of_one_content_is_evaluated_once(project: Project, tmp_path: Path) -> None:
    texts = Project.below(_made(tmp_path / "other"))
    texts.write("text", "echo first")
    texts.tree.init()
    texts.tree.commit()
    flake = WITH_INPUT.replace("@system@", project.system)
    project.write("flake.nix", flake.replace("@url@", f"git+file://{texts.root}"))
    nix("flake", "lock", f"path:{project.root}")
    counted = Counted(project)
    assert [counted.evaluations() for _ in range(2)] == [1, 0]
    texts.write("text", "echo second")
    texts.tree.commit()
    assert counted.evaluations() == 0
    nix("flake", "update", "--flake", f"path:{project.root}")
    assert [counted.evaluations() for _ in range(2)] == [1, 0]
    in_store = subprocess.run(
        ["nix-store", "--add", texts.root], check=True, capture_output=True, text=True
    ).stdout.strip()
    options = ("--override-input", "texts", f"path:{in_store}")
    assert [counted.evaluations("plan", "hello", *options) for _ in range(2)] == [1, 0]


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_an_evaluation_that_may_see_its_surroundings_is_not_kept(counted: Counted) -> None:
    options = ("--option", "pure-eval", "false")
    for _ in range(2):
        assert counted.evaluations("plan", "hello", *options) == 1


def test_an_evaluation_that_says_something_says_it_each_time(project: Project) -> None:
    project.define('  traced.jobs.it.command = builtins.trace "SEEN" "true";')
    for _ in range(2):
        assert "trace: SEEN" in project.here("plan", "traced").passed().err


def test_a_derivation_that_was_collected_is_made_again(project: Project) -> None:
    counted = Counted(project)
    project = counted.project
    assert [counted.evaluations("run", "hello") for _ in range(2)] == [1, 0]
    nodes = json.loads((project.run_dir() / "plan.json").read_text())["nodes"]
    (prepare,) = (node["prepare"] for node in nodes if node["kind"] == "prepare")
    subprocess.run(["rm", "-rf", *project.state.glob("runs/*")], check=True)
    subprocess.run(
        ["nix-store", "--delete", prepare["out_path"], prepare["drv_path"]],
        check=True,
        capture_output=True,
    )
    assert counted.evaluations("run", "hello") == 1
    assert project.record()["status"] == "passed"


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"\xff"])
def test_a_damaged_answer_is_evaluated_again(counted: Counted, damage: bytes) -> None:
    (answer,) = (counted.project.state / "answers").glob("evaluation-*")
    answer.write_bytes(damage)
    assert counted.evaluations() == 1
    assert counted.evaluations() == 0


WORDS = st.sampled_from(["a", "b", "it's", "$x", "''${y}", "0"])
EDITS = st.lists(
    st.tuples(st.sampled_from(["command", "description", "file", "lock"]), WORDS), max_size=4
)


@settings(max_examples=8, deadline=None)
@given(edits=EDITS)
def test_a_kept_plan_is_what_is_evaluated_now(edits: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        project = Project.committed(Path(place))
        values = {"command": "true", "description": "it"}
        for what, word in [("file", ""), *edits, *edits[:1]]:
            if what in values:
                values[what] = word
            else:
                project.write("read" if what == "file" else "flake.lock", _content(what, word))
            text = "".join(f"{name} = {_quoted(value)};" for name, value in values.items())
            project.define(f"{HELLO} edited.jobs.it = {{ {text} env.READ = {READ}; }};")
            shown = [_plan(project) for _ in range(2)]
            (project.state / "answers").rename(project.state / f"old-{os.urandom(4).hex()}")
            assert shown == [_plan(project)] * 2


READ = 'if builtins.pathExists ./read then builtins.readFile ./read else ""'


def _content(what: str, word: str) -> str:
    return word if what == "file" else json.dumps(LOCK) + " " * len(word)


def _quoted(text: str) -> str:
    return json.dumps(text).replace("$", "\\$")


def _plan(project: Project) -> str:
    return project.here("plan", "edited", "--json").passed().out


def test_a_run_of_a_kept_plan_needs_no_pydantic(project: Project) -> None:
    told = "import sys; sys.argv[1:] = ['run', 'hello']; from pikaci.program import run;"
    told += " run(sys.argv[1:]); print('pydantic' in sys.modules)"
    done = [
        subprocess.run(
            [sys.executable, "-c", told],
            cwd=project.root,
            env=project.env(),
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(2)
    ]
    assert [each.stdout.split()[-1] for each in done] == ["True", "False"]
