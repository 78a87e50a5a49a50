"""Parts of the way to a job that are killed: sshd, the relay, the agent, the orchestrator."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from jerichoci.plan.plan import Retries
from jerichoci.state.layout import StateLayout
from jerichoci.status import FailureKind, PhaseName, Status
from plans import RUN_ID
from remote.away import away
from remote.breaking import COMMAND, PHASES, AtEnd, AtPhase, make_quick, nothing_is_left_on, went_on
from remote.machine import wait_for
from runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

BEGUN_SECS = 30
ENDED_SECS = 30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


async def test_a_run_goes_on_when_every_sshd_is_killed_in_every_phase_and_one_is_started_again(
    runner: Runner, host: FarHost
) -> None:
    starts: list[threading.Timer] = []

    def kill() -> None:
        for start in starts:
            start.join()
        host.stop_sshd()
        starts.append(threading.Timer(2.0, host.start_sshd))
        starts[-1].start()

    sinks = [AtPhase(phase, kill) for phase in PHASES]
    ended = await runner.run(away("job", COMMAND, host), sinks=sinks)
    starts[-1].join()
    assert len(starts) == len(PHASES)
    went_on(ended, host)


async def test_a_run_goes_on_when_the_sshd_of_its_connection_is_killed_again_and_again(
    runner: Runner, host: FarHost
) -> None:
    done = threading.Event()

    def kill_now_and_then() -> None:
        while not done.wait(0.5):
            host.kill_sessions()

    def kill_no_more() -> None:
        done.set()
        killing.join()

    killing = threading.Thread(target=kill_now_and_then)
    # An agent that can't be told to end would stay for `line_limit_secs`.
    begin, end = AtPhase(PhaseName.LAUNCH_GUEST, killing.start), AtEnd(kill_no_more)
    ended = await runner.run(away("job", COMMAND, host), sinks=[begin, end])
    went_on(ended, host)


async def test_a_run_goes_on_when_the_relay_is_killed(runner: Runner, host: FarHost) -> None:
    sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, lambda: kill(host, is_relay=True))
    ended = await runner.run(away("job", COMMAND, host), sinks=[sink])
    went_on(ended, host)


@pytest.mark.parametrize("phase", PHASES[:-1])
async def test_a_job_fails_with_the_reason_when_the_agent_is_killed(
    runner: Runner, host: FarHost, phase: PhaseName
) -> None:
    sink = AtPhase(phase, lambda: kill(host, is_relay=False))
    command = "true" if phase is PhaseName.COLLECT_ARTIFACTS else "sleep 600"
    ended = await runner.run(away("job", command, host), sinks=[sink])
    job = ended.job("job")
    assert (job.status, job.failure_kind) == (Status.FAILED, FailureKind.INFRASTRUCTURE)
    killed = f"the agent on {host.name} was killed, and with it what ran there"
    assert job.message == killed, ended.log("job")
    wait_for(lambda: host.processes() == [], ENDED_SECS, f"{host.processes()} is running")


async def test_a_job_is_tried_again_after_the_agent_was_killed(
    runner: Runner, host: FarHost
) -> None:
    sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, lambda: kill(host, is_relay=False))
    node = away("job", COMMAND, host, retries=Retries(infrastructure=1))
    ended = await runner.run(node, sinks=[sink])
    went_on(ended, host, attempt=2)


async def test_what_an_orchestrator_left_goes_when_it_is_killed(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, marker: str
) -> None:
    # The agent gives whoever it works for half a minute more.
    hosts_config(far_host, line_limit_secs=1)
    process = runner.start(away("job", f"echo {marker}; sleep 600; : {marker}", far_host))
    with process:
        runs = far_host.processes
        wait_for(lambda: any(marker in line for line in runs()), BEGUN_SECS, "it doesn't begin")
        process.kill()
    nothing_is_left_on(far_host)


async def test_orchestrators_on_one_host_do_not_disturb_each_other(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, tmp_path: Path, marker: str
) -> None:
    hosts_config(far_host, line_limit_secs=1)
    other = Runner(StateLayout(tmp_path / "other"), runner.tree)
    other.state.make()
    shutil.copytree(runner.state.git, other.state.git)
    process = other.start(away("job", f"echo {marker}; sleep 600; : {marker}", far_host))
    runs = far_host.processes
    with process:
        wait_for(lambda: any(marker in line for line in runs()), BEGUN_SECS, "it doesn't begin")
        # Both runs have the same ID, and differ in who owns them.
        sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, process.kill)
        ended = await runner.run(away("job", COMMAND, far_host), sinks=[sink], run_id=RUN_ID)
    went_on(ended, far_host)


def kill(host: FarHost, *, is_relay: bool) -> None:
    """Kill the relays on a host, or the agents, which look alike but for who their parent is."""
    found = host.run(["pgrep", "-f", "python3 -I "]).stdout.split()
    doomed = []
    for pid in found:
        stat = host.run(["cat", f"/proc/{pid}/stat"], check=False).stdout
        parent = stat.rpartition(")")[2].split()[1] if stat else "-"
        if (parent not in {"0", "1"}) is is_relay:
            doomed.append(pid)
    assert doomed, found
    host.run(["kill", "-KILL", *doomed])
