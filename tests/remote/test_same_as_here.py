"""What a user sees of a job on a remote host is what they see of one here."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import bare_project, project
from e2e.project import Project, finish, wait_for
from e2e.terminal import TerminalSession
from records import PHASES

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

__all__ = ["bare_project", "project"]

ENDS_IN_ORDER = "trap 'echo told; exit 9' TERM; echo began; sleep 60 & wait"
HERE, THERE = "local", "remote_ssh"


@dataclass(frozen=True)
class Placed(Project):
    """A project whose jobs are placed here or on a host."""

    placement: str = HERE
    host: str = ""

    def jobs(self, **jobs: str) -> None:
        """Define a target `t` with jobs by name: their Nix without its braces."""
        where = f'placement = "{self.placement}";' + (
            f' host = "{self.host}";' if self.placement == THERE else ""
        )
        rows = "".join(f"t.jobs.{name} = {{ {where} {text} }};\n" for name, text in jobs.items())
        self.define(rows)


@pytest.fixture(params=[HERE, THERE])
def placed(
    project: Project, far_host: FarHost, hosts_config: WriteHosts, request: pytest.FixtureRequest
) -> Placed:
    config = hosts_config(far_host).parent.parent
    known = {name: getattr(project, name) for name in ("tree", "state", "token", "system", "cwd")}
    environment = {**project.environment, "XDG_CONFIG_HOME": str(config)}
    return Placed(**known, environment=environment, placement=request.param, host=far_host.name)


def test_a_job_passes_with_its_output_and_artifacts(placed: Placed) -> None:
    text = "cat flake.nix | wc -l; cd $PIKACI_ARTIFACTS; mkdir -p a/b; echo x > a/b/c; echo > 'w w'"
    placed.jobs(it=f'command = "{text}";')
    done = placed.pikaci("run", "t", "-L").passed()
    (job,) = placed.record()["jobs"]
    assert [row["path"] for row in job["artifacts"]] == ["a/b/c", "w w"]
    assert job["placement"] == placed.placement
    assert re.search(r"^\d+$", placed.log("it"), re.MULTILINE)
    assert "it" in done.err
    files = placed.run_dir() / "jobs/it/attempts/1/artifacts/files"
    assert (files / "a/b/c").read_text() == "x\n"
    assert (files / "a/b/c").stat().st_mode & 0o777 == 0o600


def test_the_phases_and_the_words_are_the_same(placed: Placed) -> None:
    placed.jobs(it='command = "echo said; printf cut; exit 3";')
    done = placed.pikaci("run", "t")
    assert done.code == 1
    assert [line for line in done.err.splitlines() if line.startswith("it> ")] == [
        "it> said",
        "it> cut",
    ]
    (job,) = placed.record()["jobs"]
    assert job["cause"]["message"] == "job it exited with 3"
    assert [row["phase"] for row in job["phases"]] == PHASES
    assert job["execution"]["workspace"] == "overlay"
    assert "said" in placed.log("it")


def test_a_job_whose_time_is_up_is_ended_in_order(placed: Placed) -> None:
    placed.jobs(it=f'command = "{ENDS_IN_ORDER}"; timeoutSecs = 1;')
    assert placed.pikaci("run", "t").code == 124
    (job,) = placed.record()["jobs"]
    assert (job["failure_kind"], job["cause"]["code"]) == ("timeout", "command_timed_out")
    assert placed.log("it").split("launch_guest")[1].count("told") == 1


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_run_is_cancelled_by_a_signal_and_by_the_command(placed: Placed, how: str) -> None:
    placed.jobs(it=f'command = "{ENDS_IN_ORDER}";')
    running = placed.start("run", "t")
    wait_for(placed.run_ids)
    wait_for(lambda: "began" in _log(placed))
    if how == "signal":
        running.send_signal(signal.SIGINT)
    else:
        placed.pikaci("cancel", "latest").passed()
    assert finish(running).code == 130
    assert placed.record()["status"] == "cancelled"
    assert "told" in _log(placed)


def _log(project: Project) -> str:
    found = project.run_dir() / "jobs/it/attempts/1/host.log"
    return found.read_text() if found.exists() else ""


def test_logs_are_followed_while_the_job_runs(placed: Placed) -> None:
    placed.jobs(it='command = "echo one; sleep 3; echo two";')
    running = placed.start("run", "t")
    wait_for(lambda: placed.run_ids() and "one" in _log(placed))
    assert "two" not in _log(placed)
    done = placed.pikaci("logs", "latest", "--job", "it", "--follow").passed()
    assert done.out.index("one") < done.out.index("two")
    assert finish(running).code == 0


def test_a_job_is_retried(placed: Placed) -> None:
    placed.jobs(it='command = "exit 1"; retries.test = 1;')
    assert placed.pikaci("run", "t").code == 1
    (job,) = placed.record()["jobs"]
    assert [row["number"] for row in job["attempts"]] == [1, 2]
    assert len({row["host"] for row in job["attempts"]}) == 1


def test_jobs_that_need_each_other(placed: Placed) -> None:
    placed.jobs(a='command = "exit 0";', b='needs = [ "a" ]; command = "echo after";')
    placed.pikaci("run", "t").passed()
    assert "after" in placed.log("b")


def test_a_workspace_is_private_and_may_be_read_only(placed: Placed) -> None:
    placed.jobs(
        a='command = "echo mine > made; test ! -e other";',
        b='writableWorkspace = false; command = "! touch other";',
    )
    placed.pikaci("run", "t").passed()


def test_a_shell_in_what_was_kept(placed: Placed) -> None:
    placed.jobs(it='command = "echo made > made; exit 1"; env.STATED = "yes";')
    assert placed.pikaci("run", "t", "--keep", "on-failure").code == 1
    typed = b"cat made; echo $STATED; echo e >&2; exit 5"
    done = placed.pikaci("shell", "latest", "it", stdin=typed)
    assert (done.code, done.out, done.err) == (5, "made\nyes\n", "e\n")
    words = ("sh", "-c", 'printf "%s|" "$0" "$@" "$STATED"; exit 7', "a b", "'$HOME'", "", "\n")
    done = placed.pikaci("shell", "latest", "it", "--", *words)
    assert (done.code, done.out) == (7, "a b|'$HOME'||\n|yes|")
    assert placed.pikaci("shell", "latest", "it", "--", "cat", "-", stdin=b"typed").out == "typed"
    assert placed.pikaci("shell", "latest", "it", "--", "no-such-program").code == 127
    assert placed.pikaci("shell", "latest", "it", "--", "sh", "-c", "kill -TERM $$").code == 143


def test_a_shell_on_a_terminal(placed: Placed) -> None:
    placed.jobs(it='command = "echo made > made; exit 1";')
    placed.pikaci("run", "t", "--keep", "on-failure")
    argv = placed.argv("shell", "latest", "it")
    with TerminalSession(argv, placed.root, placed.env()) as session:
        session.wait_for("it$ ")
        session.type("stty size; cat made\r")
        session.wait_for("40 200")
        session.wait_for("made")
        session.type("exit 4\r")
        assert session.wait() == 4


def test_without_keep_there_is_no_shell(placed: Placed) -> None:
    placed.jobs(it='command = "exit 1";')
    placed.pikaci("run", "t")
    assert "did not keep the workspace of it" in placed.pikaci("shell", "latest", "it").refused()


def test_a_rerun_runs_in_the_same_place(placed: Placed) -> None:
    placed.jobs(it='command = "exit 1";')
    placed.pikaci("run", "t")
    first = placed.record()
    placed.pikaci("rerun", "latest")
    second = placed.record()
    assert second["rerun_of"] == first["run_id"]
    assert second["jobs"][0]["host"] == first["jobs"][0]["host"]


def test_fail_fast_ends_the_others(placed: Placed) -> None:
    placed.jobs(a='command = "sleep 1; exit 1";', b='command = "sleep 60";')
    assert placed.pikaci("run", "t", "--fail-fast", "--jobs", "2").code == 1
    jobs = {job["id"]: job["status"] for job in placed.record()["jobs"]}
    assert jobs["b"] in {"cancelled", "skipped"}


def test_a_dry_run_connects_to_nobody(placed: Placed, far_host: FarHost) -> None:
    placed.jobs(it='command = "true";')
    far_host.stop_sshd()
    try:
        placed.pikaci("run", "t", "--dry-run").passed()
        placed.pikaci("plan", "t", "--json").passed()
    finally:
        far_host.start_sshd()


def test_environments_reach_the_job_unchanged(placed: Placed) -> None:
    value = "a'b\\\"c $x `y` é\n!"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    text = 'printf %s \\"$ODD\\" > $PIKACI_ARTIFACTS/odd'
    placed.jobs(it=f'env.ODD = "{quoted}"; command = "{text}";')
    placed.pikaci("run", "t").passed()
    files = placed.run_dir() / "jobs/it/attempts/1/artifacts/files"
    assert (files / "odd").read_text() == value


def test_the_state_root_may_have_any_name(placed: Placed) -> None:
    odd = replace(placed, state=placed.state.with_name("st ate 'x"))
    odd.jobs(it='command = "echo fine";')
    odd.pikaci("run", "t").passed()
    assert "fine" in odd.log("it")
    assert odd.state.is_dir()
