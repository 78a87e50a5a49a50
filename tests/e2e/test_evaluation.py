"""What Nix says while it evaluates, and whose fault it is when it can't."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project

IMPORTS = """
  imports.jobs.it.command =
    "echo " + builtins.readFile (build "made" "echo working; echo x > $out");
  fails.jobs.it.command = builtins.readFile (build "broken" "echo first; echo second; exit 3");
"""
BROKEN = "echo 'fatal: bad config line 1' >&2; echo 'Stopping at filesystem boundary' >&2; exit 128"


def test_a_plan_that_needs_a_build_says_which_and_build_does_it(project: Project) -> None:
    project.define(IMPORTS)
    for command in (("plan", "imports"), ("run", "imports", "--dry-run")):
        sentence = project.here(*command).refused(2)
        assert "needs made built first" in sentence
        assert "`pikaci plan TARGET --build`" in sentence
    done = project.here("plan", "imports", "--build").passed()
    assert "building made, which the evaluation needs" in done.err
    assert "echo x" in done.out
    assert project.run_ids() == []
    assert project.here("plan", "imports").passed().out == done.out
    assert "echo x" in project.here("run", "imports", "--dry-run").passed().out
    assert project.run("imports")["status"] == "passed"


def test_what_was_looked_at_but_never_built_needs_a_build_still(
    project: Project, builders: dict[str, str]
) -> None:
    project = project.with_env(**builders)
    project.define(IMPORTS)
    assert project.here("run", "fails").code == 2  # its derivation is in the store now
    assert "needs broken built first" in project.here("plan", "fails").refused(2)


@pytest.mark.parametrize("command", [("run", "fails"), ("plan", "fails", "--build")])
def test_a_failing_import_from_a_derivation_shows_its_builder(
    project: Project, command: tuple[str, ...]
) -> None:
    project.define(IMPORTS)
    done = project.here(*command)
    assert done.code == 2
    *lines, sentence = done.err.splitlines()
    assert lines[-2:] == ["broken> first", "broken> second"]
    assert "does not evaluate" in sentence
    # Nix 2.34 has `: builder` between the two.
    assert re.search(r"-broken\.drv'(: builder)? failed with exit code 3", sentence)


def test_a_trace_is_shown_once_and_makes_no_error(project: Project) -> None:
    escaped = "(builtins.fromJSON ''\"\\u001b[2JSEEN\"'')"
    project.define(f'  traced.jobs.it.command = builtins.trace {escaped} "true";')
    done = project.here("plan", "traced").passed()
    assert done.err.splitlines().count("trace: SEEN") == 1
    project.define('  traced.jobs.it.command = builtins.trace "SEEN" (throw "no way");')
    done = project.here("plan", "traced")
    assert (done.code, "trace: SEEN" in done.err.splitlines()) == (2, True)
    assert "no way" in done.err.splitlines()[-1]


def test_an_error_of_several_lines_is_told_in_one(project: Project) -> None:
    project.define(
        '  thrown.jobs.it.command = throw "it fails\\n  for this REASON\\nand no other";'
    )
    sentence = project.here("run", "thrown").refused(2)
    assert "it fails for this REASON and no other; --show-trace" in sentence


def test_an_evaluation_that_is_killed_is_the_machines_fault(project: Project) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        killed = project.shimmed("nix", f"kill -{number.name[3:]} $$; sleep 60", of="eval")
        sentence = killed.here("run", "hello").refused(75)
        assert f"`nix eval` was ended by signal {number.value} ({number.name[3:]})" in sentence
        assert ("out of memory?" in sentence) == (number == signal.SIGKILL)


def test_an_evaluation_that_is_interrupted_is_the_machines_fault(
    project: Project, tmp_path: Path
) -> None:
    slow = f'build "{tmp_path.name}" "PATH=/usr/bin:/bin; sleep 60"'
    project.define(f"  slow.jobs.it.command = builtins.readFile ({slow});")
    for name in ("INT", "TERM", "HUP"):
        timeout = f'exec timeout --preserve-status --signal={name} 1 "$real" "$@"'
        done = project.shimmed("nix", timeout, of="eval").here("run", "slow")
        ended = "pikaci: the evaluation did not end: `nix eval` got a signal"
        assert (done.code, done.err.splitlines()[-1]) == (75, ended)


@pytest.mark.parametrize(
    "words",
    [
        "looking up file '«git+{}?ref=refs/pikaci/0&rev=0»/flake.nix': object not found - no match",
        "Cannot find Git revision '0' in ref 'refs/pikaci/0' of repository '{}'! Please make sure",
    ],
)
def test_a_snapshot_that_nix_fetched_in_part_is_the_machines_fault(
    project: Project, tmp_path: Path, words: str
) -> None:
    said = f"error: {words}".replace("{}", f"file://{project.state}/git")
    line = {"action": "msg", "level": 0, "msg": said, "raw_msg": said.removeprefix("error: ")}
    (tmp_path / "said").write_text(f"@nix {json.dumps(line)}\n")
    cut = project.shimmed("nix", f"cat {tmp_path}/said >&2; exit 1", of="eval")
    sentence = cut.here("run", "hello").refused(75)
    assert f"Nix could not read the snapshot: {words.partition('{')[0]}" in sentence


def test_a_bad_nix_conf_is_said_by_the_line_that_says_it(project: Project) -> None:
    for settings, said in (
        ("max-jobs = several", "max-jobs"),
        ("no-such-thing", "syntax error in configuration line"),
    ):
        bad = project.with_env(NIX_CONFIG=f"{os.environ.get('NIX_CONFIG', '')}\n{settings}")
        assert said in bad.here("run", "hello").refused(75)


def test_an_input_that_can_not_be_fetched_has_the_reason(project: Project) -> None:
    text = (project.root / "flake.nix").read_text().replace("_:", "{ far, ... }: far.x or", 1)
    project.write("flake.nix", '{ inputs.far.url = "git+file:///nowhere/at/all";' + text[2:])
    sentence = project.here("run", "hello").refused(2)
    assert "could not fetch the flake's input far from" in sentence
    assert "/nowhere/at/all" in sentence


def test_a_store_that_does_not_answer_is_the_machines_fault(project: Project) -> None:
    sentence = project.with_env(NIX_REMOTE="unix:///nowhere").here("plan", "hello").refused(75)
    assert "Nix can't work" in sentence


def test_gits_reason_is_the_line_that_says_it(project: Project) -> None:
    sentence = project.shimmed("git", BROKEN, of="rev-parse").here("run", "hello").refused(2)
    assert "bad config line 1" in sentence
    assert "Stopping" not in sentence


def test_a_repository_of_a_newer_git_is_said_to_be_one(project: Project) -> None:
    project.tree.git("config", "core.repositoryFormatVersion", "1")
    project.tree.git("config", "extensions.refStorage2", "new")
    sentence = project.here("run", "hello").refused(2)
    assert "extension" in sentence
    assert "refstorage2" in sentence.lower()
