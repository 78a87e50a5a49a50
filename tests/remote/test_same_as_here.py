"""What a user sees of a job on a remote host is what they see of one here."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import bare_project, project
from e2e.project import Project, finish, wait_for
from e2e.terminal import TerminalSession
from records import PHASES

if TYPE_CHECKING:
    from pathlib import Path

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

__all__ = ["bare_project", "project"]

ENDS_IN_ORDER = "trap 'echo told; exit 9' TERM; echo began; sleep 60 & wait"
SECRET = "correct-horse-battery"  # noqa: S105 - no password of anything
needs_age = pytest.mark.skipif(not shutil.which("age"), reason="there is no age")
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


def content(path: Path) -> bytes:
    """What a file has; nothing, if the session that it is of has ended meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@needs_age
def test_a_job_has_secrets_and_none_is_left(placed: Placed, far_host: FarHost) -> None:
    identity = placed.state.with_name("identity")
    recipient = made_by("age-keygen", "-o", str(identity)).stderr.split()[-1]
    placed.write(
        "token.age", encrypted := made_by("age", "-a", "-r", recipient, given=SECRET).stdout
    )
    source = f'secrets.AGED.age = {{ file = "token.age"; identity = "{identity}"; }};'
    text = (
        "cat $PIKACI_SECRET_AGED; echo; base64 <$PIKACI_SECRET_AGED; wc -c <$PIKACI_SECRET_AGED;"
        " stat -fc %T $PIKACI_SECRET_AGED; ls ${PIKACI_SECRET_MAIN-there is none}"
    )
    only = 'secrets.MAIN = { env = "OUR_MAIN"; branches = [ "main" ]; };'
    placed.jobs(it=f'{source} {only} command = "{text.replace("$", chr(92) + "$")}";')
    with_main = replace(placed, environment={**placed.environment, "OUR_MAIN": "another-secret"})
    done = with_main.here("run", "t", "-L", "--branch", "main").passed()
    assert encrypted.startswith("-----BEGIN AGE")
    said = [row for row in placed.log("it").splitlines() if "> " not in row]
    assert said[:4] == ["***", "***", str(len(SECRET)), "tmpfs"]
    assert placed.record()["jobs"][0]["execution"]["secrets"] == ["AGED", "MAIN"]
    assert SECRET not in done.out + done.err
    for root in (placed.state, far_host.work_dir):
        files = [path for path in root.rglob("*") if path.is_file()]
        assert [path for path in files if SECRET.encode() in content(path)] == []
    failed = with_main.here("run", "t", "--branch", "x")
    assert failed.code == 1  # the command fails without it
    refused = placed.here("run", "t", "--branch", "main")
    assert refused.code == 2
    assert "secret MAIN of job it can't be had: the variable OUR_MAIN is not set" in refused.err


def made_by(*argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=True)


def test_jobs_pass_with_their_output_and_artifacts(placed: Placed) -> None:
    odd = "a'b\\\"c $x `y` é\n!"
    quoted = odd.replace("\\", "\\\\").replace('"', '\\"')
    left = '\\"$PIKACI_ARTIFACTS\\"'
    text = f"cat flake.nix | wc -l; cd {left}; mkdir -p a/b; echo x > a/b/c; echo > 'w w'"
    placed = replace(placed, state=placed.state.with_name("st ate 'x"))
    placed.jobs(
        it=f'command = "{text}";',
        env=f'env.ODD = "{quoted}"; command = "cd {left}; printf %s \\"$ODD\\" > odd";',
        private='command = "echo mine > made; test ! -e other";',
        fixed='writableWorkspace = false; command = "! touch other";',
        last='needs = [ "private" "fixed" ]; command = "echo after";',
    )
    done = placed.here("run", "t", "-L").passed()
    jobs = {job["id"]: job for job in placed.record()["jobs"]}
    assert [row["path"] for row in jobs["it"]["artifacts"]] == ["a/b/c", "w w"]
    assert {job["placement"] for job in jobs.values()} == {placed.placement}
    assert re.search(r"^\d+$", placed.log("it"), re.MULTILINE)
    assert "it> " in done.err
    assert "after" in placed.log("last")
    attempts = {name: placed.run_dir() / f"jobs/{name}/attempts/1/artifacts/files" for name in jobs}
    assert (attempts["it"] / "a/b/c").read_text() == "x\n"
    assert (attempts["it"] / "a/b/c").stat().st_mode & 0o777 == 0o644
    assert (attempts["env"] / "odd").read_text() == odd
    assert "did not keep the workspace of it" in placed.here("shell", "latest", "it").refused()


def test_jobs_that_fail_are_told_of_tried_again_kept_and_rerun(placed: Placed) -> None:
    placed.jobs(
        it='command = "echo made > made; echo said; printf cut; exit 3"; env.STATED = "yes";',
        again='command = "exit 1"; retries.test = 1;',
    )
    done = placed.here("run", "t", "--keep", "on-failure")
    assert done.code == 1
    shown = [line for line in done.err.splitlines() if line.startswith("it> ")]
    assert shown == ["it> said", "it> cut"]
    first = placed.record()
    it, again = sorted(first["jobs"], key=lambda job: job["id"] == "again")
    assert it["cause"]["message"] == "job it exited with 3"
    assert [row["phase"] for row in it["phases"]] == PHASES
    assert it["execution"]["workspace"] == "overlay"
    assert "said" in placed.log("it")
    assert [row["number"] for row in again["attempts"]] == [1, 2]
    assert len({row["host"] for row in again["attempts"]}) == 1

    def shell(*words: str, **streams: bytes) -> tuple[int, str, str]:
        end = placed.pikaci("shell", "latest", "it", *words, **streams)
        return end.code, end.out, end.err

    assert shell(stdin=b"cat made; echo $STATED; echo e >&2; exit 5") == (5, "made\nyes\n", "e\n")
    odd = ("sh", "-c", 'printf "%s|" "$0" "$@" "$STATED"; exit 7', "a b", "'$HOME'", "", "\n")
    assert shell("--", *odd)[:2] == (7, "a b|'$HOME'||\n|yes|")
    assert shell("--", "cat", "-", stdin=b"typed")[1] == "typed"
    assert shell("--", "no-such-program")[0] == 127
    assert shell("--", "sh", "-c", "kill -TERM $$")[0] == 143
    argv = placed.argv("shell", "latest", "it")
    with TerminalSession(argv, placed.root, placed.env()) as session:
        session.wait_for("it$ ")
        session.type("stty size; cat made\r")
        session.wait_for("40 200")
        session.wait_for("made")
        session.type("exit 4\r")
        assert session.wait() == 4

    placed.here("rerun", "latest")
    second = placed.record()
    assert second["rerun_of"] == first["run_id"]
    assert [job["host"] for job in second["jobs"]] == [job["host"] for job in first["jobs"]]


def test_a_job_whose_time_is_up_is_ended_in_order_and_fail_fast_ends_the_others(
    placed: Placed,
) -> None:
    placed.jobs(it=f'command = "{ENDS_IN_ORDER}"; timeoutSecs = 1;', b='command = "sleep 60";')
    assert placed.here("run", "t", "--fail-fast", "--jobs", "2").code == 124
    jobs = {job["id"]: job for job in placed.record()["jobs"]}
    it = jobs["it"]
    assert (it["failure_kind"], it["cause"]["code"]) == ("timeout", "command_timed_out")
    assert placed.log("it").split("launch_guest")[1].count("told") == 1
    assert jobs["b"]["status"] in {"cancelled", "skipped"}


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_run_whose_log_is_followed_is_cancelled_by_a_signal_and_by_the_command(
    placed: Placed, how: str
) -> None:
    placed.jobs(it=f'command = "{ENDS_IN_ORDER}";')
    running = placed.start("run", "t")
    log = placed.state / "runs"
    wait_for(lambda: any("began" in path.read_text() for path in log.glob("*/jobs/it/*/1/*.log")))
    following = placed.start("logs", "latest", "--job", "it", "--follow")
    assert following.stdout is not None
    shown = b""
    while not shown.endswith(b"began\n"):
        shown = following.stdout.readline()
    if how == "signal":
        running.send_signal(signal.SIGINT)
    else:
        placed.here("cancel", "latest").passed()
    assert finish(running).code == 130
    assert placed.record()["status"] == "cancelled"
    assert "told" in finish(following).out


def test_a_dry_run_connects_to_nobody(placed: Placed, far_host: FarHost) -> None:
    placed.jobs(it='command = "true";')
    far_host.stop_sshd()
    try:
        placed.here("run", "t", "--dry-run").passed()
        placed.here("plan", "t", "--json").passed()
    finally:
        far_host.start_sshd()


def test_files_go_from_job_to_job_wherever_they_run(placed: Placed) -> None:
    other = replace(placed, placement=THERE if placed.placement == HERE else HERE)
    rows = {
        "make": (
            placed,
            (
                "command = \"cd $PIKACI_ARTIFACTS; mkdir d; echo 'echo ran' >d/run; chmod +x d/run;"
                ' head -c 9000000 /dev/urandom >big; sha256sum big >sum; touch empty";'
            ),
        ),
        "use": (
            other,
            (
                'needs = [ "make" ]; command = "cd $PIKACI_INPUT_MAKE; d/run; ls empty;'
                ' sha256sum -c sum; ! touch x; cp d/run $PIKACI_ARTIFACTS";'
            ),
        ),
        "last": (placed, 'needs = [ "use" ]; command = "$PIKACI_INPUT_USE/run";'),
    }
    placed.define(
        "".join(
            f't.jobs.{name} = {{ placement = "{at.placement}"; {text}'
            + (f' host = "{at.host}"; }};' if at.placement == THERE else " };")
            for name, (at, text) in rows.items()
        )
    )
    placed.here("run", "t").passed()
    assert {"ran", "empty", "big: OK"} <= set(placed.log("use").splitlines())
    assert "Read-only file system" in placed.log("use")
    assert "ran" in placed.log("last").splitlines()


def test_files_beyond_the_limit_are_refused_by_name_wherever_the_job_ran(placed: Placed) -> None:
    left = "cd $PIKACI_ARTIFACTS; truncate -s 8T holes; echo x >small; exit 3"
    placed.jobs(it=f'artifacts.maxMib = 1; command = "{left}";')
    placed.here("run", "t")
    job = placed.record()["jobs"][0]
    assert job["exit_code"] == 3
    assert [row["path"] for row in job["artifacts"]] == ["small"]
    assert "holes (it has 8796093022208 bytes, the limit of all is 1 MiB)" in job["notes"][0]
