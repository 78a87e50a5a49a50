from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import processes, wait_for
from ends import ENDS
from jerichoci.machine.confinement import Confinement
from jerichoci.machine.environment import host_environment
from jerichoci.machine.pump import pumping
from jerichoci.plan.artifacts import Artifacts
from jerichoci.plan.plan import Retries
from jerichoci.runtime.host_process import ShellCommand
from jerichoci.status import FailureKind, KeepPolicy, Status
from plans import job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner import Runner

DEADLINE_SECS = 60
IGNORING = [
    *("env", "--default-signal"),
    "--ignore-signal=HUP,INT,QUIT,USR1,USR2,ALRM,TERM,CHLD,TSTP",
]
"""What starts a program with signals ignored: these, and no others that are ignored here."""
IGNORES_TERM = "trap '' TERM; while :; do sleep 1; done"


@pytest.fixture(params=["pid_namespace", "process_group"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What holds a job: the kernel's namespaces, or its process group where there are none."""
    if request.param == "process_group":

        async def probe(*_: object) -> Confinement:
            return Confinement()

        monkeypatch.setattr("jerichoci.placement.work.probe", probe)
    monkeypatch.setitem(ShellCommand.__init__.__kwdefaults__ or {}, "grace_secs", 0.5)
    found: str = request.param
    return found


async def test_a_job_passes_with_all_its_output_no_input_and_no_children_left(
    runner: Runner, held: str, marker: str
) -> None:
    command = f"sh -c 'sleep 600; : {marker}' & cat README; ./src/main; wc -c"
    both = "for i in 1 2 3; do echo out$i; echo err$i >&2; done"
    run = await runner.run(job("a", command), job("both", both))
    assert run.record.status is Status.PASSED
    assert run.said("a") == ["hello", "from main", "0"]
    assert run.said("both") == ["out1", "err1", "out2", "err2", "out3", "err3"]
    assert run.job("a").exit_code == 0
    kind = {"pid_namespace": "overlay", "process_group": "copy"}[held]
    assert run.job("a").execution == {"processes": held, "workspace": kind}
    assert processes(marker) == []


async def test_any_other_end_is_a_test_failure_and_told_by_its_name(
    runner: Runner, held: str
) -> None:
    run = await runner.run(*(job(f"j{number}", end.command) for number, end in enumerate(ENDS)))
    assert held
    assert {row.failure_kind for row in run.record.jobs} == {FailureKind.TEST_FAILURE}
    assert [(row.exit_code, row.message) for row in run.record.jobs] == [
        (end.exit_code, f"job j{number} {end.words}") for number, end in enumerate(ENDS)
    ]


async def test_a_job_that_says_it_has_ended_is_late_all_the_same(
    runner: Runner, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert held
    monkeypatch.setattr("jerichoci.runtime.host_process.NEWS_SECS", 0.1)
    command = (
        "for p in 1 $PPID; do printf 'started 0\\nended 1\\n' >> /proc/$p/fd/0; done; sleep 60"
    )
    row = (await runner.run(job("a", command, timeout_secs=1))).job("a")
    assert row.failure_kind is FailureKind.TIMEOUT


async def test_a_job_whose_first_process_is_killed_was_killed(
    runner: Runner, held: str, marker: str, tmp_path: Path
) -> None:
    assert held
    begun = tmp_path / "begun"
    command = f"touch {begun}; sleep 600; : {marker}"
    running = asyncio.ensure_future(runner.run(job("a", command)))
    await asyncio.to_thread(wait_for, begun.exists)
    (job_pid,) = [row.split()[0] for row in processes(marker) if row.split()[1].endswith("bash")]
    first = Path(f"/proc/{job_pid}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(first), signal.SIGKILL)
    ended = (await running).job("a")
    assert (ended.exit_code, ended.message) == (137, "job a was killed by SIGKILL")
    assert processes(marker) == []


SET_UP = {
    "POSIXLY_CORRECT": "1",
    "BASH_ENV": "/nowhere/to/be/found",
    "SHELLOPTS": "errexit:nounset",
    "BASHOPTS": "failglob",
    "LD_PRELOAD": "/nowhere.so",
    "LD_LIBRARY_PATH": "/nowhere",
    "ENV": "/nowhere",
}
NAMES = ["mode", "scope", "snapshot", "root", "options", "command", "job", "status"]


async def test_a_job_has_the_plans_variables_and_nothing_else_hears_of_them_nor_leaks(
    runner: Runner, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LC_TIME", "C")
    run = await runner.run(
        job("all", "env -0 | tr '\\n\\0' '?\\n'", env={"NAMED": "by the plan"}),
        job("any-name", "env", env=dict.fromkeys(NAMES, "mine")),
        job("set-up", "echo $LD_LIBRARY_PATH; exit 3", env=SET_UP),
        job("posix", "set -o | grep posix", env={"POSIXLY_CORRECT": "1"}),
        job("path", 'echo "$PATH"', env={"PATH": "/nowhere"}),
    )
    assert held
    found = dict(row.split("=", 1) for row in run.said("all"))
    bash = {"PWD", "SHLVL", "_", "OLDPWD"}
    assert set(found) - bash == set(host_environment()) | {"NAMED", "PIKACI_ARTIFACTS", "PATH"}
    assert found["NAMED"] == "by the plan"
    assert set(run.said("any-name")) >= {f"{name}=mine" for name in NAMES}
    assert run.job("set-up").exit_code == 3
    assert run.said("set-up")[-1] == "/nowhere"
    assert run.said("posix")[0].split() == ["posix", "on"]
    assert run.said("path") == ["/nowhere"]


async def test_the_path_is_the_same_however_pikaci_was_started(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = []
    for directory in ("one", "two"):
        monkeypatch.setenv("PATH", f"{tmp_path / directory}:{os.environ['PATH']}")
        monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / directory))
        run = await runner.run(job("a", 'echo "$PATH:$VIRTUAL_ENV:$PYTHONPATH"'))
        said += run.said("a")
    assert said[0] == said[1]
    assert str(Path(sys.executable).parent) not in said[0].split(":")
    assert "/usr/bin" in said[0].split(":")


async def test_the_hosts_file_may_name_directories_that_come_first(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text(f'[local]\nsearch_path = ["{tmp_path}"]\n')
    monkeypatch.setenv("PIKACI_HOSTS_FILE", str(hosts))
    run = await runner.run(job("a", 'echo "$PATH"'))
    assert run.said("a")[0].split(":")[0] == str(tmp_path)


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_signal_that_the_orchestrator_ignores_is_not_ignored_by_the_job(
    runner: Runner, *, namespaces: bool
) -> None:
    command = "sh -c 'kill -HUP $$'; echo $?; grep SigIgn /proc/self/status"
    with runner.start(job("a", command), prefix=IGNORING, namespaces=namespaces) as process:
        assert process.wait(DEADLINE_SECS) == 0
    code, ignored = runner.ended().said("a")[-2:]
    assert code == "129"
    # Not those that the C library keeps for itself: bash may ignore them for what it starts.
    named = sum(1 << (number - 1) for number in signal.valid_signals())
    assert int(ignored.split()[1], 16) & named == 0


async def test_each_job_has_a_workspace_of_its_own_and_the_snapshot_stays_as_it_was(
    runner: Runner, held: str
) -> None:
    command = "echo changed > README; rm -r src; touch new; chmod 777 .; ls; cat README"
    closed = "mkdir -p x/y; touch x/y/z; chmod 0 x"
    run = await runner.run(job("a", command), job("b", f"ls; {closed}", after=["a"]))
    assert held
    assert (run.said("a"), run.said("b")) == (["README", "new", "changed"], ["README", "src"])
    assert (runner.snapshot / "README").read_text() == "hello\n"
    assert sorted(path.name for path in runner.snapshot.iterdir()) == ["README", "src"]
    assert not run.layout.scratch.exists()
    assert [phase.outcome for phase in run.job("b").phases] == ["passed"] * 7


async def test_a_read_only_workspace_is_the_jobs_users_and_refuses_writes(runner: Runner) -> None:
    command = """
        find . ! -user "$(id -u)"; cat README
        touch new || touch src/new || echo x > README || echo refused
    """
    run = await runner.run(job("a", command, writable_workspace=False))
    assert run.said("a")[0] == "hello"
    assert run.said("a")[-1] == "refused"
    assert run.job("a").execution["workspace"] == "read_only"


@pytest.mark.parametrize("mapped", [True, False])
async def test_all_of_a_workspace_is_the_jobs_users(
    runner: Runner, held: str, monkeypatch: pytest.MonkeyPatch, *, mapped: bool
) -> None:
    async def none(*_: object) -> None:
        return None

    if not mapped:
        monkeypatch.setattr("jerichoci.placement.work.own_snapshots", none)
    command = """
        set -e
        find . ! -user "$(id -u)" -o ! -group "$(id -g)"
        cd src; git init -q .; git add main; git status --short
        chmod 700 main; ./main; [ -O ../README ]; ln main other
    """
    run = await runner.run(job("a", command))
    assert held
    assert run.said("a") == ["A  main", "from main"]


@pytest.mark.parametrize("keep", [KeepPolicy.ALWAYS, KeepPolicy.ON_FAILURE])
async def test_the_workspace_of_a_failed_job_can_be_kept(runner: Runner, keep: KeepPolicy) -> None:
    run = await runner.run(job("a", "touch mine; exit 1"), job("b"), keep=keep)
    assert (run.layout.scratch / "a-1/upper/mine").exists()
    assert (run.layout.scratch / "b-1").exists() is (keep is KeepPolicy.ALWAYS)


async def test_a_job_over_its_time_is_a_timeout_however_it_ends(
    runner: Runner, held: str, marker: str
) -> None:
    ends = {
        "killed": f"echo begun; sh -c 'sleep 600; : {marker}'",
        "passing": "trap 'echo ending; exit 0' TERM; sleep 600 & wait",
        "waiting": "trap 'exit 7' TERM; sleep 600 & wait",
        "later": "trap 'exit 7' TERM; sleep 600; exit 3",
        "deaf": f": {marker}; {IGNORES_TERM}",
    }
    run = await runner.run(*(job(name, ends[name], timeout_secs=2) for name in ends))
    assert held
    others = "5 of 5 jobs failed: also passing, waiting, later, deaf"
    assert run.record.message == f"job killed timed out after 2 s (`timeoutSecs`) ({others})"
    for row in run.record.jobs:
        assert (row.status, row.failure_kind) == (Status.FAILED, FailureKind.TIMEOUT)
    assert run.said("killed")[0] == "begun"
    assert "ending" in run.said("passing")
    codes = [run.job(name).exit_code for name in ("passing", "waiting", "later")]
    assert codes == [0, 7, 7]
    assert processes(marker) == []


LEAVES = (
    "setsid sh -c '{loop}; : {marker}' &",
    "(setsid setsid sh -c '{loop}; : {marker}' &) &",
    "nohup sh -c '{loop}; : {marker}' > /dev/null 2>&1 &",
)


@pytest.mark.parametrize("end", ["sleep 600", "exit 0"])
async def test_children_that_left_the_jobs_group_end_with_it(
    runner: Runner, marker: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ShellCommand.__init__.__kwdefaults__ or {}, "grace_secs", 0.5)
    starts = [start.format(loop='trap "" TERM; sleep 600', marker=marker) for start in LEAVES]
    jobs = [
        job(f"j{number}", f"{start}\n{end}", timeout_secs=1) for number, start in enumerate(starts)
    ]
    assert (await runner.run(*jobs)).record.status.is_terminal
    assert processes(marker) == []


def ticks(pid: str) -> int:
    """What a process has had of a CPU, in hundredths of a second."""
    fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_job_that_stops_itself_is_waited_for_without_work(
    runner: Runner, held: str, marker: str
) -> None:
    stops = job("a", f"kill -STOP $$; : {marker}", timeout_secs=4)
    running = asyncio.create_task(runner.run(stops))
    await asyncio.sleep(3)
    assert held
    assert sum(ticks(line.split()[0]) for line in processes(marker)) < 80
    assert (await running).record.failure_kind is FailureKind.TIMEOUT


async def test_who_holds_a_jobs_output_for_good_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.machine.pump.DRAIN_SECS", 1.0)
    began = time.monotonic()
    async with pumping(tmp_path / "log") as pump:
        held = os.dup(pump.sink)
        await pump.drain()
    os.close(held)
    assert 1.0 <= time.monotonic() - began < 1.9


async def test_what_a_job_leaves_is_collected_whether_it_passes_or_not(
    runner: Runner, held: str
) -> None:
    command = (
        'mkdir "$PIKACI_ARTIFACTS/d"; echo x > "$PIKACI_ARTIFACTS/d/f"; '
        'ln -s /etc/shadow "$PIKACI_ARTIFACTS/link"'
    )
    run = await runner.run(job("a", command), job("b", f"{command}; exit 1"))
    assert held
    for row in run.record.jobs:
        assert [artifact.path for artifact in row.artifacts] == ["d/f"]
        files = run.layout.attempt(row.id, 1) / "artifacts/files"
        assert (files / "d/f").read_text() == "x\n"
        assert not (files / "link").is_symlink()


TAKE_AWAY = (
    'rm -rf "$PIKACI_ARTIFACTS"',
    'rmdir "$PIKACI_ARTIFACTS"; touch "$PIKACI_ARTIFACTS"',
    'rmdir "$PIKACI_ARTIFACTS"; ln -s /etc "$PIKACI_ARTIFACTS"',
    'rmdir "$PIKACI_ARTIFACTS"; mkfifo "$PIKACI_ARTIFACTS"',
    'rm -rf "$(dirname "$PIKACI_ARTIFACTS")"',
    'mv "$PIKACI_ARTIFACTS" "$PIKACI_ARTIFACTS.old"',
)


async def test_a_job_that_takes_its_artifacts_directory_away_ends_as_its_command_does(
    runner: Runner,
) -> None:
    ways = list(enumerate(TAKE_AWAY))
    passing = [job(f"pass{number}", way) for number, way in ways]
    run = await runner.run(*passing, *(job(f"fail{at}", f"{way}; exit 3") for at, way in ways))
    for row in run.record.jobs:
        ends = (row.status, row.failure_kind, row.exit_code)
        failed = (Status.FAILED, FailureKind.TEST_FAILURE, 3)
        assert ends == (failed if row.id.startswith("fail") else (Status.PASSED, None, 0))
        assert (row.attempt, row.artifacts) == (1, [])
        assert [note[:14] for note in row.notes] == ["no artifacts: "]
        assert f"pikaci> {row.notes[0]}" in run.log(row.id)
    assert (run.job("pass0").message or "").startswith("no artifacts: ")


async def test_a_job_can_not_hide_that_it_began_nor_how_it_ended(runner: Runner, held: str) -> None:
    hides = [
        *("rm -rf ../started ../group.json", "rm -rf ../* 2>&1", "cd /"),
        "echo > /proc/1/fd/0; echo > /proc/$PPID/fd/0",
    ]
    if held == "pid_namespace":  # else that mount would be everybody's
        hides.append("mount -t tmpfs x ..")
    jobs = [job(f"j{number}", f"{hide}; exit 3") for number, hide in enumerate(hides)]
    for row in (await runner.run(*jobs)).record.jobs:
        assert (row.failure_kind, row.exit_code) == (FailureKind.TEST_FAILURE, 3)
        assert row.attempt == 1


@pytest.fixture
def thawed(runner: Runner) -> Iterator[None]:
    """Files can be made immutable, and aren't afterwards."""
    script = f"f={runner.state.root}/x; touch $f; chattr +i $f && chattr -i $f"
    if subprocess.run(["sh", "-c", script], check=False, capture_output=True).returncode:
        pytest.skip("files can't be made immutable here")
    yield
    subprocess.run(["chattr", "-R", "-i", str(runner.state.runs)], check=True)


@pytest.mark.usefixtures("thawed")
async def test_an_artifact_that_was_made_immutable_is_collected(runner: Runner) -> None:
    command = """
        cd "$PIKACI_ARTIFACTS"; mkdir d; echo x > d/file; echo y > a; echo z > linked; ln linked l
        chattr +i a linked d/file d .
    """
    run = await runner.run(job("a", command))
    assert run.record.status is Status.PASSED
    assert {"a", "d/file"} <= {row.path for row in run.job("a").artifacts}


async def test_artifacts_that_take_too_long_are_left_and_that_is_said(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.run.attempt.COLLECT_SECS", 0.5)
    run = await runner.run(
        job("a", 'truncate -s 4T "$PIKACI_ARTIFACTS/sparse"', artifacts=Artifacts(max_mib=2**23))
    )
    assert run.record.status is Status.PASSED
    assert run.job("a").notes == ["no artifacts: they were not collected within 0.5 s"]


async def test_a_retried_job_has_its_attempts_on_record(runner: Runner, tmp_path: Path) -> None:
    command = (
        f"cat {tmp_path}/count; echo x >> {tmp_path}/count; [ $(wc -l < {tmp_path}/count) = 3 ]"
    )
    run = await runner.run(job("a", command, retries=Retries(test=2)))
    assert run.record.status is Status.PASSED
    assert [row.status for row in run.job("a").attempts] == [
        *(Status.FAILED, Status.FAILED, Status.PASSED)
    ]
    assert [len(run.said("a", number)) for number in (2, 3)] == [1, 2]
    assert run.job("a").host_log_path == "jobs/a/attempts/3/host.log"
