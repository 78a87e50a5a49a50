"""Connections that break, and are made anew or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jerichoci.status import FailureKind, PhaseName, Status
from remote.away import away
from remote.breaking import AtPhase, cable_cut_for, make_quick, nothing_is_left_on

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

SHORT_CUT_SECS = 3.0
COMMAND = "for i in $(seq 30); do echo row $i; sleep 0.1; done; echo left > $PIKACI_ARTIFACTS/out"
ROWS = [f"row {number}" for number in range(1, 31)]
PHASES = [
    PhaseName.PREPARE_DIRECTORIES,
    PhaseName.STAGE_WORKSPACE_SNAPSHOT,
    PhaseName.PREPARE_RUNTIME,
    PhaseName.LAUNCH_GUEST,
    PhaseName.WAIT_FOR_COMPLETION,
    PhaseName.COLLECT_ARTIFACTS,
    PhaseName.CLEANUP,
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_run_goes_on_after_a_cut_in_any_phase(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, phase: PhaseName
) -> None:
    hosts_config(far_host)
    with cable_cut_for(far_host, SHORT_CUT_SECS) as cut:
        sink = AtPhase(phase, cut)
        ended = await runner.run(away("job", COMMAND, far_host), sinks=[sink])
    assert sink.times == 1
    assert ended.record.status is Status.PASSED, ended.log("job")
    assert ended.said("job") == ROWS
    assert [row.path for row in ended.job("job").artifacts] == ["out"]
    nothing_is_left_on(far_host)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_run_ends_when_a_line_stays_cut_in_any_phase(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, phase: PhaseName
) -> None:
    hosts_config(far_host, line_limit_secs=3)
    sink = AtPhase(phase, far_host.cut)
    ended = await runner.run(away("job", COMMAND, far_host), sinks=[sink])
    far_host.join()
    job = ended.job("job")
    if phase is PhaseName.CLEANUP:
        assert job.status is Status.PASSED
        assert ended.said("job") == ROWS
    else:
        assert (job.status, job.failure_kind) == (Status.FAILED, FailureKind.INFRASTRUCTURE)
        assert job.message is not None
        assert f"the connection to {far_host.name} was down for" in job.message
    nothing_is_left_on(far_host)
