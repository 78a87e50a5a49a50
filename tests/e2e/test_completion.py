"""Completion in the shells themselves, set up as docs/cli.md says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from e2e.project import REPOSITORY, Project
from e2e.terminal import TerminalSession

TARGETS = """
  alpha = { title = "Greets"; jobs.greet.command = "true"; };
  beta = { title = "Helps"; jobs.help.command = "true"; };
"""
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config"],
}


def set_up(shell: str) -> str:
    """The line that docs/cli.md gives for a shell."""
    text = (REPOSITORY / "docs/cli.md").read_text()
    (line,) = re.findall(rf"^(.*\b_PIKACI_COMPLETE={shell}_source .*?) +#", text, re.MULTILINE)
    return f"autoload -Uz compinit && compinit -u; {line}" if shell == "zsh" else line


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with two targets, and `pikaci` on PATH."""
    project = Project.committed(tmp_path_factory.mktemp("completed"), TARGETS)
    programs = project.state.with_name("bin")
    programs.mkdir()
    script = f'#!/bin/sh\nexec {sys.executable} -m pikaci "$@"\n'
    (programs / "pikaci").write_text(script)
    (programs / "pikaci").chmod(0o755)
    return project.with_env(PATH=f"{programs}:{project.env()['PATH']}", PS1="ready> ")


@pytest.mark.parametrize(("shell", "tabs"), [("bash", "\t\t"), ("zsh", "\t")])
def test_a_tab_lists_targets_and_completes_what_was_begun(
    project: Project, shell: str, tabs: str
) -> None:
    with TerminalSession(SHELLS[shell], project.root, project.env()) as terminal:
        terminal.type(f"{set_up(shell)}; echo set''up\n")
        terminal.wait_for("setup")
        terminal.type(f"pikaci run {tabs}")
        terminal.wait_for("alpha")
        terminal.type("b\t\n")
        terminal.wait_for("passed in")
    assert project.record()["target_id"] == "beta"


def test_fish_lists_commands_and_targets_with_what_they_are(project: Project) -> None:
    script = f"{set_up('fish')}; complete -C 'pikaci canc'; complete -C 'pikaci run '"
    done = subprocess.run(
        [*SHELLS["fish"], "-c", script], cwd=project.root, env=project.env(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    cancel, *targets = (line.split("\t") for line in done.stdout.splitlines())
    assert cancel == ["cancel", "Cancel RUN"]
    assert targets == [["alpha", "Greets"], ["beta", "Helps"]]
