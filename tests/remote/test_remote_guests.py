"""Jobs in guests of a remote host's Incus: what they get and leave, and what they are refused."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from derivations import derive
from e2e.project import wait_for
from incus.guest_project import GuestRunner, ending, guest_job, until, until_logged
from jerichoci.errors import UsageError
from jerichoci.nix.payload_files import MANIFEST
from jerichoci.plan.network import AllowedNetwork
from jerichoci.plan.plan import Retries
from jerichoci.plan.secrets import Secret
from jerichoci.remote.agent.agent_operations import SocketProbe, probe_socket
from jerichoci.remote.session import Session
from jerichoci.status import FailureKind, PhaseName, Status
from plans import RUN_ID, built, commanded
from records import PHASES
from remote.far_guests import LINES, FarGuests
from remote.far_host import one_far_host

if TYPE_CHECKING:
    from jerichoci.record.record import RunRecord
    from remote.conftest import WriteHosts

PAYLOAD = {
    "schema_version": 1,
    "kind": "tools",
    "mounts": [
        {"name": "bin", "relative_path": "bin", "guest_path": "/opt/tools", "read_only": True}
    ],
}


async def test_an_allow_list_that_the_host_could_not_keep_is_refused(far: FarGuests) -> None:
    """The tests' host has a network of its own, and an Incus whose bridge is in this one."""
    bridge = far.server.bridge
    node = far.job("a", network=bridge)
    allowed = node.execute.with_(network=AllowedNetwork(allow=["10.213.0.1:80"]))
    ended = await far.guests.run_here(node.with_(execute=allowed))
    assert ended.record.status is Status.FAILED
    said = f"bridge {bridge} is in another network namespace"
    assert said in str(ended.job("a").message)
    assert far.server.instances() == []


async def test_a_job_in_a_guest_has_the_records_that_it_has_here(far: FarGuests) -> None:
    command = (
        "echo hello; id -un; cat README $PIKACI_SECRET_TOKEN; echo out > $PIKACI_ARTIFACTS/left"
    )
    secret = Secret(name="TOKEN", kind="command", value="echo correct-horse-battery")
    ended = await far.guests.run_here(far.job("a", command, secrets=[secret]), wait_removal=True)
    assert ended.record.status is Status.PASSED, ended.job("a").cause
    job = ended.job("a")
    assert job.host == far.host.name
    assert [phase.phase for phase in job.phases] == PHASES
    assert [row.path for row in job.artifacts] == ["left"]
    assert far.guests.log() == "hello\npikaci\nhello\n***"
    execution = job.attempts[-1].execution
    assert execution["project"] == far.server.project
    assert execution["instance_type"] == "container"
    assert execution["pool"] == far.server.pool
    assert execution["removal"] == "removed"
    kept = ended.layout.attempt("a", 1) / "artifacts"
    assert json.loads((kept / "result.json").read_text())["status"] == "passed"
    assert "command_finished" in (kept / "events.jsonl").read_text()
    assert (kept / "files" / "left").read_text() == "out\n"
    far.assert_nothing_is_left()


async def test_records_say_of_a_job_there_what_they_say_of_one_here(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUS_SOCKET", str(far.server.socket))
    command = "echo said; echo out > $PIKACI_ARTIFACTS/left; exit 3"
    here = await far.guests.run_here(guest_job("a", command))
    events_here = [(row["event"], row.get("phase")) for row in far.guests.events()]
    record_here = here.record
    await asyncio.to_thread(far.server.remove_instances)
    here.layout.root.rename(far.guests.state.root / "moved")
    there = await far.guests.run_here(far.job("a", command))
    assert [(row["event"], row.get("phase")) for row in far.guests.events()] == events_here
    assert _shape(there.record) == _shape(record_here)
    attempts = [ended.job("a").attempts[-1].execution for ended in (here, there)]
    assert attempts[0].keys() == attempts[1].keys()
    assert attempts[0]["image_fingerprint"] == attempts[1]["image_fingerprint"]


def _shape(record: RunRecord) -> dict[str, Any]:
    """What of a record doesn't change from run to run."""
    (job,) = record.jobs
    return {
        "status": record.status,
        "failure_kind": job.failure_kind,
        "cause": job.cause,
        "exit_code": job.exit_code,
        "phases": [(phase.phase, phase.outcome) for phase in job.phases],
        "artifacts": job.artifacts,
        "logs": [(row.host_log_path, row.guest_log_path) for row in job.attempts],
    }


async def test_a_guest_s_inputs_are_the_host_s(far: FarGuests) -> None:
    made = derive(
        stored="echo from the store > $out",
        payload=f"mkdir -p $out/share/pikaci $out/bin; echo tool > $out/bin/tool;"
        f" echo '{json.dumps(PAYLOAD)}' > $out/{MANIFEST}",
    )
    there = {"placement": "remote_ssh", "placement_config": {"host": far.host.name}}
    nodes = [
        built("stored", made["stored"]),
        built("payload", made["payload"]),
        commanded("commanded", "cp README made; echo more >> made", ["made"]).with_(**there),
    ]
    command = (
        "cat $PIKACI_INPUT_STORED $PIKACI_INPUT_PAYLOAD/bin/tool $PIKACI_INPUT_COMMANDED/made"
        " /opt/tools/tool; ls /nix/store | wc -l; mkdir $PIKACI_ARTIFACTS/running;"
        " until [ -e $PIKACI_ARTIFACTS/go ]; do sleep 0.02; done"
    )
    job = far.job("a", command, needs=["stored", "payload", "commanded"])
    running = asyncio.ensure_future(far.guests.run_here(*nodes, job, wait_removal=True))
    await asyncio.to_thread(wait_for, (far.outbox() / "files" / "running").is_dir)
    (guest,) = json.loads(far.server.incus("list", "--format=json"))
    devices = guest["devices"].values()
    sources = [row["source"] for row in devices if row["type"] == "disk"]
    far.let_go()
    ended = await running
    assert ended.record.status is Status.PASSED, ended.job("a").cause
    expected = ["from the store", "tool", "hello", "more", "tool", "2"]
    assert far.guests.log().splitlines() == expected
    assert len(sources) >= 4
    assert all(source.startswith(f"{far.host.work_dir}/") for source in sources), sources
    far.assert_nothing_is_left()


async def test_a_job_that_fails_is_tried_again_in_another_guest(far: FarGuests) -> None:
    job = far.job("a", "echo $RANDOM; exit 4", retries=Retries(test=1))
    ended = await far.guests.run_here(job, wait_removal=True)
    attempts = ended.job("a").attempts
    assert [row.exit_code for row in attempts] == [4, 4]
    assert len({row.execution["instance"] for row in attempts}) == 2
    assert {row.host for row in attempts} == {far.host.name}
    far.assert_nothing_is_left()


async def test_a_guest_s_timeout_is_a_timeout(far: FarGuests) -> None:
    job = far.job("a", f"seq {LINES}; sleep 60", timeout_secs=1)
    ended = await far.guests.run_here(job, wait_removal=True)
    assert ended.job("a").failure_kind is FailureKind.TIMEOUT
    assert len(far.guests.log().splitlines()) == LINES
    far.assert_nothing_is_left()


async def test_a_guest_that_its_job_takes_down_is_infrastructure(far: FarGuests) -> None:
    job = far.job(
        "a", f"seq {LINES}; {until_logged(LINES)} kill -TERM 1; sleep 60", run_as_root=True
    )
    ended = await far.guests.run_here(job, wait_removal=True)
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    cause = ended.job("a").cause
    assert cause is not None
    assert "before its job was over" in cause.message
    assert len(far.guests.log().splitlines()) == LINES
    far.assert_nothing_is_left()


async def test_a_guest_whose_runner_is_killed_is_ended_by_the_host(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secs in (("GRACE_SECS", 0.5), ("KILL_SECS", 0.5), ("HOST_MARGIN_SECS", 1.0)):
        monkeypatch.setattr(f"jerichoci.runtime.job_guest.{name}", secs)
    job = far.job("a", f"seq {LINES}; kill -KILL $PPID; sleep 60", timeout_secs=1, run_as_root=True)
    ended = await far.guests.run_here(job, wait_removal=True)
    assert ended.job("a").failure_kind is FailureKind.TIMEOUT
    assert len(far.guests.log().splitlines()) == LINES
    far.assert_nothing_is_left()


def test_a_run_is_cancelled_with_its_log_and_artifacts(far: FarGuests) -> None:
    command = f"echo said; echo kept > $PIKACI_ARTIFACTS/kept; {until('never')}"
    with far.running(far.job("a", command)) as process:
        wait_for((far.outbox() / "files" / "kept").exists)
        wait_for(lambda: far.guests.begins(PhaseName.WAIT_FOR_COMPLETION))
        process.send_signal(signal.SIGINT)
        process.wait(60)
    record = far.record()
    assert (record["status"], record["cause"]["code"]) == ("cancelled", "cancelled")
    assert [row["path"] for row in record["artifacts"]] == ["kept"]
    assert far.guests.log() == "said\n"
    assert [note["removal_requested"] for note in far.notes()] == [True]
    wait_for(lambda: not far.server.instances())


@pytest.mark.parametrize("phase", ["prepare_runtime", "launch_guest"])
def test_a_run_is_cancelled_while_its_guest_is_made(far: FarGuests, phase: str) -> None:
    with ending(far.guests.start(far.job("a", until("never")))) as process:
        wait_for(lambda: far.guests.state.run(RUN_ID).root.exists() and far.guests.begins(phase))
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert far.record()["status"] == "cancelled"
    wait_for(lambda: not far.server.instances())
    assert not far.run_directory.exists()


# Refused before anything starts


async def refusal(far: FarGuests) -> UsageError:
    with pytest.raises(UsageError) as caught:
        await far.guests.run_here(far.job())
    assert far.host.name in caught.value.message, caught.value
    assert caught.value.hint
    assert list((far.host.work_dir / "runs").glob("*")) == []
    return caught.value


async def test_what_is_wrong_with_the_incus_of_a_host_is_told_apart(far: FarGuests) -> None:
    dead = far.host.work_dir / "dead.socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    there = {"socket": str(far.server.socket)}
    for incus, words, hint in (
        ({"socket": "/nowhere"}, "has no Incus: there is no socket /nowhere", "install and start"),
        ({"socket": str(dead)}, "is not running", "start Incus on far1"),
        (there | {"project": "none"}, "has no project none", "incus project create none` on far1"),
        (there | {"profile": "none"}, "has no profile none", "incus profile create none"),
        (there | {"pool": "none"}, "has no storage pool none", "incus storage create none"),
    ):
        far.config(incus=incus)
        error = await refusal(far)
        assert words in error.message
        assert hint in (error.hint or "")
    error = await refusal(far.config().of("pikaci/none"))
    assert f"of Incus on {far.host.name} has no image pikaci/none" in error.message
    assert f"`pikaci image import runner --host {far.host.name}`" in (error.hint or "")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "no permission to use Incus on"),
        (errno.EPERM, "no permission to use Incus on"),
        (errno.EIO, "Input/output error"),
    ],
)
async def test_an_incus_that_lets_nobody_in_is_told_apart(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    far.config(incus={"socket": "/nowhere/unix.socket"})
    ask = Session.do

    async def do(session: Session, operation: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any operation
        if operation is probe_socket:
            return SocketProbe(number, os.strerror(number))
        return await ask(session, operation, *args, **kwargs)

    monkeypatch.setattr(Session, "do", do)
    with pytest.raises(UsageError, match=words):
        await far.guests.run_here(far.job())


async def test_a_sshd_that_forwards_nothing_is_told_apart(
    guests: GuestRunner, hosts_config: WriteHosts
) -> None:
    with one_far_host("closed", sshd_options=["AllowStreamLocalForwarding no"]) as host:
        far = FarGuests(guests, host, hosts_config).config()
        error = await refusal(far)
    assert "sshd on closed refuses to forward" in error.message
    assert "AllowStreamLocalForwarding" in (error.hint or "")
