"""The parts of a job's world, with parts of the test's own."""

from __future__ import annotations

import socket
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.machine.confinement import Confinement
from jerichoci.status import FailureKind, Status
from jerichoci.world import Share, World
from plans import job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.run.world import Asked
    from runner import Runner


class Recorded:
    """A part that records what becomes of it."""

    facts = MappingProxyType({"recorded": True})

    def __init__(
        self, world: World, fails_in: str = "", error: type[Exception] = InfrastructureError
    ) -> None:
        self.steps: list[str] = []
        self._error = error
        self._world = world
        self._fails_in = fails_in

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self._fails_in:
            raise self._error(f"{name} failed")

    async def enter(self) -> World:
        self._step("enter")
        return self._world

    async def passed(self) -> None:
        self._step("passed")

    async def leave(self) -> None:
        self._step("leave")


def has_parts(monkeypatch: pytest.MonkeyPatch, *parts: Recorded) -> None:
    def all_of(_: Asked) -> Iterator[Recorded]:
        yield from parts

    monkeypatch.setattr("jerichoci.run.world._parts", all_of)


async def test_a_job_sees_what_its_world_gives(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").write_text("#!/bin/sh\necho a tool\n")
    (tmp_path / "bin/tool").chmod(0o755)
    (tmp_path / "shared").write_text("shared\n")
    target = tmp_path / "elsewhere/it is here"
    part = Recorded(
        World(
            env={"WORD": "given"},
            path=(str(tmp_path / "bin"),),
            shares=(Share(tmp_path / "shared", str(target)),),
        )
    )
    has_parts(monkeypatch, part)
    command = f"tool; echo $WORD; cat '{target}'; ! echo x >'{target}'"
    run = await runner.run(job("a", command))
    assert run.job("a").status is Status.PASSED
    assert run.said("a")[:3] == ["a tool", "given", "shared"]
    assert part.steps == ["enter", "passed", "leave"]
    assert run.job("a").execution["recorded"] is True


async def test_parts_are_left_whatever_happens(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Recorded(World()), Recorded(World(), fails_in="enter")
    has_parts(monkeypatch, first, second)
    row = (await runner.run(job("a", "true"))).job("a")
    assert row.failure_kind is FailureKind.INFRASTRUCTURE
    assert row.message == "enter failed"
    assert first.steps == ["enter", "leave"]
    assert second.steps == ["enter", "leave"]


@pytest.mark.parametrize("error", [InfrastructureError, RuntimeError])
@pytest.mark.parametrize("step", ["passed", "leave"])
async def test_a_part_that_fails_after_the_command_changes_no_verdict(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, step: str, error: type[Exception]
) -> None:
    part = Recorded(World(), step, error)
    has_parts(monkeypatch, part)
    row = (await runner.run(job("a", "true"))).job("a")
    assert row.status is Status.PASSED
    assert row.attempts[-1].notes == [f"{step} failed"]
    assert part.steps == ["enter", "passed", "leave"]


async def test_a_failed_job_tells_no_part_that_it_passed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Recorded(World())
    has_parts(monkeypatch, part)
    assert (await runner.run(job("a", "exit 3"))).job("a").exit_code == 3
    assert part.steps == ["enter", "leave"]


async def test_a_job_that_prints_nothing_for_too_long_is_ended(runner: Runner) -> None:
    run = await runner.run(
        job("quiet", "echo begins; sleep 60", silence_secs=1),
        job("chatty", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.4; done", silence_secs=1),
        job("cancelled", "sleep 60", timeout_secs=1, silence_secs=60),
    )
    quiet, late = run.job("quiet"), run.job("cancelled")
    assert (quiet.failure_kind, quiet.message) == (
        FailureKind.TIMEOUT,
        "job quiet printed nothing for 1 s (`silenceSecs`)",
    )
    assert quiet.cause is not None
    assert quiet.cause.code == "command_silent"
    assert run.job("chatty").status is Status.PASSED
    assert late.message == "job cancelled timed out after 1 s (`timeoutSecs`)"


async def test_a_job_has_no_network_but_what_it_asks_for(runner: Runner) -> None:
    listening = (
        'python3 -c \'import socket;s=socket.socket();s.bind(("127.0.0.1",0));s.listen();'
        "print(socket.create_connection(s.getsockname()).getpeername()[0])'"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        to_host = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        run = await runner.run(
            job("own", to_host, network="bridge"),
            job("default", to_host),
            job(
                "none",
                f"! ({to_host}) && ! {listening} && ! cat /sys/class/net/eth0/x",
                network="none",
            ),
            job("loopback", f"! ({to_host}) && {listening}", network="loopback"),
        )
    assert {row.id: row.status for row in run.record.jobs} == dict.fromkeys(
        ("own", "default", "none", "loopback"), Status.PASSED
    )
    assert run.job("loopback").execution["network"] == "loopback"
    assert "Network is unreachable" in run.log("none")


async def test_a_host_without_namespaces_refuses_a_job_without_a_network(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def probe(*_: object) -> Confinement:
        return Confinement()

    monkeypatch.setattr("jerichoci.placement.work.probe", probe)
    row = (await runner.run(job("a", network="none"))).job("a")
    assert row.failure_kind is FailureKind.INFRASTRUCTURE
    assert "can't be kept from the network" in (row.message or "")
