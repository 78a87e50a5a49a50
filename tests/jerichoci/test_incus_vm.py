"""Jobs in virtual machines as Incus sees them asked for, and what differs from containers."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from incus_fake import CONTAINER, FINGERPRINTS, MACHINE, Asked, FakeIncus, Fault, Said, Started
from incus_jobs import guest_job, run_guests, write_hosts
from jerichoci.plan.plan import Resources
from jerichoci.state.ledger import incus_guests
from jerichoci.state.retention import KEEP_SECS
from jerichoci.status import FailureKind, KeepPolicy, Outcome, Status
from plans import commanded
from records import PHASES

if TYPE_CHECKING:
    from pathlib import Path

    from runner import Ended, Runner

CHECK, START = ["--check-contract"], list[str]()
AGENT = "VM agent isn't currently running"


def created(fake: FakeIncus) -> dict[str, Any]:
    """The one request that made the one guest."""
    (body,) = fake.created
    return dict(body)


def disks(body: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The disks of a request, by their paths in the guest."""
    devices = body["devices"].values()
    return {device["path"]: device for device in devices if device["type"] == "disk"}


def writable(disks: dict[str, dict[str, str]]) -> list[str]:
    return [path for path, disk in disks.items() if disk.get("readonly") != "true"]


def passed(run: Ended) -> bool:
    return run.record.status is Status.PASSED


async def test_one_request_makes_a_machine_with_its_labels_and_disks(
    runner: Runner, fake: FakeIncus
) -> None:
    dep = commanded("dep", "echo made > out")
    run = await run_guests(runner, dep, guest_job("a", role="vm", needs=["dep"]))
    assert passed(run), run.log("a")
    body = created(fake)
    found = disks(body)
    assert (body["type"], body["profiles"]) == (MACHINE, ["default"])
    assert body["start"] is body["ephemeral"] is True
    assert body["source"] == {"type": "image", "fingerprint": FINGERPRINTS[MACHINE]}
    assert {asked.query["project"] for asked in fake.requests("POST .*")} == {"pikaci"}
    # No limits, where its job names no resources.
    assert body["config"] == {
        "security.guestapi": "false",
        "security.secureboot": "false",
        "user.pikaci.run_id": run.record.run_id,
        "user.pikaci.job_id": "a",
        "user.pikaci.owner": runner.state.owner_id(),
    }
    assert sorted(found) == ["/artifacts", "/staged/dep", "/workspace/snapshot"]
    assert {disk["io.bus"] for disk in found.values()} == {"virtiofs"}
    assert not [path for path, disk in found.items() if "shift" in disk]
    assert writable(found) == ["/artifacts"]
    assert found["/workspace/snapshot"]["source"] == str(runner.snapshot)
    (started,) = fake.started
    assert started.env["PIKACI_INCUS_MOUNTS"].split(":") == list(found)
    assert json.loads(started.env["PIKACI_INCUS_ENV"])["PIKACI_INPUT_DEP"] == "/staged/dep"


async def test_a_container_has_shifted_disks_and_limits_and_is_not_asked_whether_it_is_ready(
    runner: Runner, fake: FakeIncus
) -> None:
    resources = Resources(cpus=1, memory_mib=512)
    job = guest_job("a", needs=["dep"], resources=resources)
    await run_guests(runner, commanded("dep", "echo made > out"), job)
    found, config = disks(created(fake)), created(fake)["config"]
    assert created(fake)["type"] == CONTAINER
    assert "security.secureboot" not in config
    assert (config["limits.cpu"], config["limits.memory"]) == ("1", "512MiB")
    assert {disk["shift"] for disk in found.values()} == {"true"}
    assert not [path for path, disk in found.items() if "io.bus" in disk]
    assert writable(found) == ["/artifacts"]
    assert fake.executed[0] == START


async def test_a_machine_is_ready_when_its_runner_has_said_so_twice(
    runner: Runner, fake: FakeIncus
) -> None:
    assert passed(await run_guests(runner, guest_job("a", role="vm")))
    assert fake.executed[:3] == [CHECK, CHECK, START]
    question = fake.requests("POST instances/.*/exec")[0].body
    assert question["environment"] == {
        "PIKACI_INCUS_CONTRACT": "1",
        "PIKACI_INCUS_MOUNTS": "/workspace/snapshot:/artifacts",
    }
    assert question["wait-for-websocket"] is question["interactive"] is False


@pytest.mark.parametrize("refused", [True, False])
async def test_an_agent_that_comes_and_goes_begins_the_count_again(
    runner: Runner,
    fake: FakeIncus,
    refused: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    away = Said(error=AGENT, refused=refused)
    unmounted = Said(69, "pikaci-incus-run: nothing is mounted yet at /artifacts")
    fake.script = [away, away, unmounted, Said(), away, Said(), Said()]
    run = await run_guests(runner, guest_job("a", role="vm"))
    assert passed(run), run.log("a")
    assert fake.executed[:8] == [*[CHECK] * 7, START]
    assert len(fake.started) == 1


async def test_a_start_that_the_agent_missed_is_tried_again_from_the_first_question(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.script = [Said(), Said(), Said(error=AGENT), Said(), Said(), Said()]
    assert passed(await run_guests(runner, guest_job("a", role="vm")))
    assert fake.executed[:6] == [CHECK, CHECK, START, CHECK, CHECK, START]
    assert len(fake.started) == 1


@pytest.mark.parametrize("network", [None, "br0"])
async def test_a_job_has_the_network_it_names_and_no_other_whatever_its_profile_says(
    runner: Runner, fake: FakeIncus, network: str | None
) -> None:
    fake.profile = {
        "root": {"type": "disk", "path": "/", "pool": "fast"},
        "eth0": {"type": "nic", "network": "incusbr0"},
        "uplink": {"type": "nic", "nictype": "macvlan", "parent": "eno1"},
    }
    await run_guests(runner, guest_job("a", role="vm", network=network))
    bridged = {"type": "nic", "nictype": "bridged", "parent": "br0", "name": "eth0"}
    devices = created(fake)["devices"]
    assert devices["eth0"] == (bridged if network else {"type": "none"})
    assert devices["uplink"] == {"type": "none"}


async def test_the_root_disk_is_the_profiles_unless_another_pool_is_named(
    runner: Runner, fake: FakeIncus, tmp_path: Path
) -> None:
    await run_guests(runner, guest_job("a", role="vm"))
    assert "root" not in created(fake)["devices"]
    fake.pools["slow"] = "dir"
    fake.asked.clear()
    write_hosts(tmp_path / "config", socket=str(fake.socket), pool="slow")
    run = await run_guests(runner, guest_job("a", role="vm"))
    assert created(fake)["devices"]["root"] == {"type": "disk", "path": "/", "pool": "slow"}
    assert run.job("a").execution["pool"] == "slow"


async def test_what_the_machine_left_is_in_the_record(runner: Runner, fake: FakeIncus) -> None:
    def play(started: Started) -> None:
        started.leave("guest.log", b"one\ntwo \xff\n")
        started.leave("files/report", "text")
        started.leave("events.jsonl", "{}\n")
        started.end()

    fake.job = play
    run = await run_guests(runner, guest_job("a", role="vm"))
    attempt = run.layout.attempt("a", 1)
    assert (attempt / "guest.log").read_bytes() == b"one\ntwo \xff\n"
    assert [(row.path, row.bytes) for row in run.job("a").artifacts] == [("report", 4)]
    assert (attempt / "artifacts/files/report").read_text() == "text"
    assert (attempt / "artifacts/events.jsonl").read_text() == "{}\n"
    assert json.loads((attempt / "artifacts/result.json").read_text())["status"] == "passed"


async def test_the_record_has_where_the_job_ran_and_its_phases(
    runner: Runner, fake: FakeIncus
) -> None:
    job = (await run_guests(runner, guest_job("a", role="vm"))).job("a")
    took = {name: job.execution.pop(name) for name in ("create_ms", "ready_ms")}
    assert all(isinstance(value, int) for value in took.values())
    assert job.execution == {
        "project": "pikaci",
        "instance": created(fake)["name"],
        "instance_type": MACHINE,
        "image_alias": "pikaci/vm",
        "image_fingerprint": FINGERPRINTS[MACHINE],
        "pool": "fast",
        "removal": "handed_over",
    }
    assert [row.phase for row in job.attempts[0].phases] == PHASES
    assert {row.outcome for row in job.attempts[0].phases} == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("result", "kind", "exit_code"),
    [
        ({"status": "failed", "exit_code": 3}, FailureKind.TEST_FAILURE, 3),
        ({"status": "failed", "signal": 11}, FailureKind.TEST_FAILURE, 139),
        ({"status": "failed", "exit_code": 75}, FailureKind.INFRASTRUCTURE, 75),
        ({"status": "timed_out", "signal": 15}, FailureKind.TIMEOUT, None),
        ({"status": "timed_out", "exit_code": 0}, FailureKind.TIMEOUT, 0),
        ({"status": "error", "message": "no bash"}, FailureKind.INFRASTRUCTURE, None),
    ],
)
async def test_the_runners_result_is_the_jobs(
    runner: Runner,
    fake: FakeIncus,
    result: dict[str, Any],
    kind: FailureKind,
    exit_code: int | None,
) -> None:
    fake.job = lambda started: started.end(**{"exit_code": None, **result})
    found = (await run_guests(runner, guest_job("a", role="vm"))).job("a")
    assert (found.status, found.failure_kind, found.exit_code) == (Status.FAILED, kind, exit_code)
    assert fake.instances == {}


async def test_a_machine_that_is_no_longer_needed_is_stopped_by_force_and_forgotten_when_gone(
    runner: Runner, fake: FakeIncus
) -> None:
    run = await run_guests(runner, guest_job("a", role="vm"))
    name = created(fake)["name"]
    (stop,) = fake.requests("PUT instances/.*/state")
    assert stop.path == f"instances/{name}/state"
    assert stop.body == {"action": "stop", "timeout": -1, "force": True}
    assert fake.requests("DELETE .*") == []
    assert fake.asked[-1] == stop
    (note,) = incus_guests(runner.state).all()
    assert (note.name, note.run_id, note.removal_requested) == (name, run.record.run_id, True)
    assert not run.layout.scratch.exists()
    # The next run sees that this guest is gone.
    second = await run_guests(runner, guest_job("a", role="vm"))
    assert [note.run_id for note in incus_guests(runner.state).all()] == [second.record.run_id]


async def test_a_run_that_waits_sees_the_machine_gone(runner: Runner, fake: FakeIncus) -> None:
    run = await run_guests(runner, guest_job("a", role="vm"), wait_removal=True)
    assert passed(run), run.log("a")
    assert fake.asked[-1].line == f"GET instances/{created(fake)['name']}"
    assert not list(incus_guests(runner.state).all())


async def test_a_machine_that_is_kept_outlives_its_stop_for_a_day(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.job = lambda started: started.end("failed", exit_code=1)
    run = await run_guests(
        runner, guest_job("a", role="vm"), keep=KeepPolicy.ON_FAILURE, wait_removal=True
    )
    (patch,) = fake.requests("PATCH instances/.*")
    assert patch.body["ephemeral"] is False
    (label, until) = patch.body["config"].popitem()
    assert label == "user.pikaci.expires"
    assert abs(int(until) - time.time() - KEEP_SECS) < 60
    assert list(fake.instances) == [created(fake)["name"]]
    assert fake.requests("(PUT|DELETE) .*") == []
    (note,) = incus_guests(runner.state).all()
    assert note.is_kept()
    assert run.job("a").execution["kept_until"] == note.kept_until
    assert (run.layout.scratch / "a-1" / "artifacts").is_dir()


async def test_an_image_is_unpacked_by_one_request_while_the_other_jobs_wait(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.unpacked.clear()
    were_unpacked: list[bool] = []
    create, fault = fake._create, fake.fault

    def slowly(body: dict[str, Any]) -> Any:  # noqa: ANN401 - as it gives
        time.sleep(0.2)
        fake.unpacked.add(FINGERPRINTS[MACHINE])
        return create(body)

    def look(asked: Asked) -> Fault | None:
        if asked.line == "POST instances":
            were_unpacked.append(bool(fake.unpacked))
        return fault(asked)

    fake._create = slowly  # type: ignore[method-assign]
    fake.fault = look  # type: ignore[method-assign]
    jobs = [guest_job(name, role="vm") for name in ("a", "b", "c")]
    assert passed(await run_guests(runner, *jobs))
    assert were_unpacked == [False, True, True]


async def test_a_pool_that_unpacks_each_time_lets_no_job_wait(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.unpacked.clear()
    fake.pools["fast"] = "dir"
    jobs = [guest_job(name) for name in ("a", "b")]
    assert passed(await run_guests(runner, *jobs))
    assert len(fake.requests("GET storage-pools/fast/volumes/.*")) == 1


async def test_a_machine_that_is_gone_before_its_job_is_over_is_an_infrastructure_failure(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.guest.LOOK_SECS", 0.02)

    def play(started: Started) -> None:
        started.leave("guest.log", "so far\n")
        fake.instances.clear()

    fake.job = play
    run = await run_guests(runner, guest_job("a", role="vm"))
    found = run.job("a")
    assert found.failure_kind is FailureKind.INFRASTRUCTURE
    assert found.message
    assert "disappeared before its job was over" in found.message
    assert (run.layout.attempt("a", 1) / "guest.log").read_text() == "so far\n"


async def test_a_machine_that_ended_with_a_result_has_that_result(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.guest.LOOK_SECS", 0.0)

    def play(started: Started) -> None:
        fake.instances.clear()
        started.end()

    fake.job = play
    assert passed(await run_guests(runner, guest_job("a", role="vm")))


async def test_looks_that_fail_while_the_job_runs_do_not_end_it(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.guest.LOOK_SECS", 0.02)
    looks = Fault("GET instances/[^/]*", "refuse", times=3)

    def play(started: Started) -> None:
        fake.faults.append(looks)
        threading.Thread(target=end_afterwards, args=(started,)).start()

    def end_afterwards(started: Started) -> None:
        deadline = time.monotonic() + 30
        while looks.times and time.monotonic() < deadline:
            time.sleep(0.01)
        started.end()

    fake.job = play
    assert passed(await run_guests(runner, guest_job("a", role="vm")))
    assert not looks.times
