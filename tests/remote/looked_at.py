"""What doctor says of a host, and what a run does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jerichoci.plan.plan import Retries
from pikaci.doctor.catalog import FlakeNeeds
from pikaci.doctor.host import host_findings, known_hosts
from remote.away import away
from remote.machine import wait_for

if TYPE_CHECKING:
    from jerichoci.errors import PikaciError
    from pikaci.doctor.finding import Finding
    from remote.far_host import FarHost
    from runner import Runner

NO_RETRY = Retries(infrastructure=0)
USER, GROUP = 1234, 100
LEFT_SECS = 30.0
"""For what served a connection that is gone to end."""


def other_user(host: FarHost) -> str:
    """The name of a user there who isn't root, and to whom the work directory belongs."""
    for name, line in (
        ("passwd", f"ci:x:{USER}:{GROUP}:ci:{host.home}:/bin/bash"),
        ("shadow", "ci:*:20000:0:99999:7:::"),
    ):
        with (host.directory / name).open("a") as file:
            file.write(f"{line}\n")
    host.home.chmod(0o755)
    os.chown(host.work_dir, USER, GROUP)
    return "ci"


async def findings_of(
    runner: Runner, host: FarHost, wanted: FlakeNeeds | None = None
) -> dict[str, Finding]:
    """What doctor finds, by name."""
    wanted = wanted or FlakeNeeds()
    (known,) = await known_hosts(wanted, [host.name])
    found = await host_findings(known, runner.state, wanted)
    assert {finding.host for finding in found} == {host.name}
    assert all(finding.hint for finding in found if finding.status != "ok")
    return {finding.name: finding for finding in found}


async def said_twice(runner: Runner, host: FarHost, kind: type[PikaciError]) -> PikaciError:
    """Why a run that needs the host does not begin; doctor says the same."""
    with pytest.raises(kind) as caught:
        await runner.run(away("job", "true", host, retries=NO_RETRY))
    assert list(runner.state.runs.iterdir()) == []
    await agrees(runner, host, caught.value.message, caught.value.hint)
    nothing_runs(host)
    return caught.value


async def said_in_the_record(runner: Runner, host: FarHost) -> str:
    """Why a run whose host may come back fails; doctor says the same."""
    ended = await runner.run(away("job", "true", host, retries=NO_RETRY))
    cause = ended.job("job").cause
    assert cause is not None
    assert cause.code == "host_unavailable"
    await agrees(runner, host, cause.message, cause.hint)
    return cause.message


async def agrees(runner: Runner, host: FarHost, message: str, hint: str | None) -> None:
    found = await findings_of(runner, host)
    bad = [finding for finding in found.values() if finding.status == "bad"]
    assert [(finding.text, finding.hint) for finding in bad] == [(message, hint)]


def nothing_runs(host: FarHost) -> None:
    """Wait until what served connections has ended."""
    wait_for(lambda: host.processes() == [], LEFT_SECS, "something is left on the host")
