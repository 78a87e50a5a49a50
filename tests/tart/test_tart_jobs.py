"""Jobs in VMs of a Mac, run by the engine with the stand-in's `tart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jerichoci.status import Status
from tart_jobs import BASE, vm_job

if TYPE_CHECKING:
    from runner import Runner
    from tart.mac import Mac


@pytest.fixture(autouse=True)
def base(mac: Mac) -> None:
    mac.add_base(BASE)


async def test_a_job_runs_in_a_vm_of_its_own_which_is_gone_afterwards(
    runner: Runner, mac: Mac
) -> None:
    command = "id -un; pwd; cat README; echo kept > $PIKACI_ARTIFACTS/left; echo more > new"
    run = await runner.run(vm_job("a", command))
    assert run.job("a").status is Status.PASSED, run.log("a")
    said = (run.layout.attempt("a", 1) / "guest.log").read_text()
    assert said == "admin\n/workspace/snapshot\nhello\n"
    assert [artifact.path for artifact in run.job("a").artifacts] == ["left"]
    steps = [call.step for call in mac.calls()]
    assert steps == ["list", "list", "clone", "list", "run", "exec", "exec", "stop", "delete"]
    assert mac.vms() == {BASE: "stopped"}
