"""Shells and single commands in workspaces that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e.project import Project

TARGETS = r"""
  keeps.jobs.it = { command = "echo made > made; exit 1"; env.STATED = "yes"; };
  reads.jobs.it = { command = "exit 1"; writableWorkspace = false; };
  twice.jobs.it = { command = "echo $RANDOM > made; exit 1"; retries.test = 1; };
  needs = {
    prepare.never.drv = build "never" "exit 1";
    jobs.it = { needs = [ "never" ]; command = "true"; };
  };
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.define(TARGETS)
    return project


@pytest.fixture
def kept(project: Project) -> Project:
    """A project whose job `it` failed, and whose workspace was kept."""
    assert project.pikaci("run", "keeps", "--keep", "on-failure").code == 1
    return project


def test_commands_come_through_a_pipe(kept: Project) -> None:
    done = kept.pikaci(
        "shell", "latest", "it", stdin=b"cat made; echo $STATED; echo err >&2; exit 5"
    )
    assert (done.code, done.out, done.err) == (5, "made\nyes\n", "err\n")
    assert kept.pikaci("shell", "latest", "it").code == 0


def test_a_command_instead_of_a_shell(kept: Project) -> None:
    words = ("sh", "-c", 'printf "%s|" "$0" "$@" "$STATED"; exit 7', "a b", "'$HOME'", "")
    done = kept.pikaci("shell", "latest", "it", "--", *words)
    assert (done.code, done.out) == (7, "a b|'$HOME'||yes|")
    assert kept.pikaci("shell", "latest", "it", "--", "cat", "-", stdin=b"typed").out == "typed"
    assert kept.pikaci("shell", "latest", "it", "--", "no-such-program").code == 127
    assert kept.pikaci("shell", "latest", "it", "--", "sh", "-c", "kill -TERM $$").code == 143


def test_what_a_shell_writes_is_there_for_the_next(kept: Project) -> None:
    kept.pikaci("shell", "latest", "it", "--", "cp", "made", "more").passed()
    assert kept.pikaci("shell", "latest", "it", "--", "cat", "more").out == "made\n"
    assert not (kept.root / "more").exists()


def test_a_workspace_that_was_read_only_is_so_in_a_shell(project: Project) -> None:
    project.pikaci("run", "reads", "--keep", "always")
    project.pikaci("shell", "latest", "it", "--", "cat", "flake.nix").passed()


def test_each_attempt_has_its_own_workspace(project: Project) -> None:
    project.pikaci("run", "twice", "--keep", "on-failure")
    first = project.pikaci("shell", "latest", "it", "--attempt", "1", "--", "cat", "made").passed()
    last = project.pikaci("shell", "latest", "it", "--", "cat", "made").passed()
    assert first.out != last.out
    refused = project.pikaci("shell", "latest", "it", "--attempt", "3").refused()
    assert "no attempt 3; there are 1, 2" in refused


def test_a_job_that_was_not_started_has_no_shell(project: Project) -> None:
    project.pikaci("run", "needs", "--keep", "always")
    assert "job it" in project.pikaci("shell", "latest", "it").refused()
