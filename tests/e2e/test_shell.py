"""Shells and single commands in workspaces that were kept."""

from __future__ import annotations

import pytest

from e2e.project import Done, Project

TARGETS = r"""
  keeps.jobs.it = { command = "echo made > made; exit 1"; env.STATED = "yes"; };
  reads.jobs.it = { command = "exit 1"; writableWorkspace = false; };
  twice.jobs.it = { command = "echo $RANDOM > made; exit 1"; retries.test = 1; };
  other.jobs.alone.command = "echo alone > made";
  needs = {
    prepare.never.drv = build "never" "exit 1";
    jobs.it = { needs = [ "never" ]; command = "true"; };
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.committed(tmp_path_factory.mktemp("project"), TARGETS)


def test_commands_run_in_a_kept_workspace(project: Project) -> None:
    assert project.here("run", "keeps", "--keep", "on-failure").code == 1

    def shell(*words: str, stdin: bytes = b"") -> Done:
        more = ("--", *words) if words else ()
        return project.pikaci("shell", "latest", "it", *more, stdin=stdin)

    done = shell(stdin=b"cat made; echo $STATED; echo err >&2; exit 5")
    assert (done.code, done.out, done.err) == (5, "made\nyes\n", "err\n")
    assert shell().code == 0
    done = shell("sh", "-c", 'printf "%s|" "$0" "$@" "$STATED"; exit 7', "a b", "'$HOME'", "")
    assert (done.code, done.out) == (7, "a b|'$HOME'||yes|")
    assert shell("cat", "-", stdin=b"typed").out == "typed"
    assert shell("no-such-program").code == 127
    assert shell("sh", "-c", "kill -TERM $$").code == 143
    shell("cp", "made", "more").passed()
    assert shell("cat", "more").out == "made\n"
    assert not (project.root / "more").exists()
    assert project.pikaci("shell", "it", "--", "cat", "more").passed().out == "made\n"
    assert project.pikaci("shell", "it", stdin=b"cat made").passed().out == "made\n"
    assert project.pikaci("shell", "latest", "it", "cat", "more").passed().out == "made\n"


def test_a_workspace_that_was_read_only_is_so_in_a_shell(project: Project) -> None:
    project.here("run", "reads", "--keep", "always")
    project.pikaci("shell", "latest", "it", "--", "cat", "flake.nix").passed()


def test_each_attempt_has_its_own_workspace(project: Project) -> None:
    project.here("run", "twice", "--keep", "on-failure")
    first = project.pikaci("shell", "latest", "it", "--attempt", "1", "--", "cat", "made").passed()
    last = project.pikaci("shell", "latest", "it", "--", "cat", "made").passed()
    assert first.out != last.out
    refused = project.here("shell", "latest", "it", "--attempt", "3").refused()
    assert "no attempt 3; there are 1, 2" in refused


def test_a_job_that_was_not_started_has_no_shell(project: Project) -> None:
    project.here("run", "needs", "--keep", "always")
    assert "job it" in project.here("shell", "latest", "it").refused()


def test_a_shell_needs_a_job(project: Project) -> None:
    assert "JOB" in project.here("shell").refused()
    assert "JOB" in project.here("shell", "--", "ls").refused()
    assert "no job 'other'; it has it" in project.here("shell", "other", "--", "ls").refused()


def test_a_job_that_one_run_of_a_batch_has_needs_no_run(project: Project) -> None:
    assert project.here("run", "keeps", "other", "reads", "--keep", "always").code == 1
    assert project.pikaci("shell", "alone", "--", "cat", "made").passed().out == "alone\n"
    assert "is a batch of 3 runs" in project.here("shell", "it").refused()
