from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.status import Status
from remote.away import away

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner


async def test_a_job_runs_on_its_host_and_says_so(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    job = away("hello", "ls; cat README; echo $PWD; echo out > $PIKACI_ARTIFACTS/left", far_host)
    ended = await runner.run(job)
    assert ended.record.status is Status.PASSED
    assert ended.job("hello").host == far_host.name
    assert [row.path for row in ended.job("hello").artifacts] == ["left"]
    assert ended.said("hello")[:3] == ["README", "src", "hello"]
