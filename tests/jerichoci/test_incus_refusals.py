"""What Incus, an image or a connection may lack, and what a run then says and leaves."""

from __future__ import annotations

import grp
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from incus_fake import CONTAINER, HAND_OVERS, MACHINE, FakeIncus, Fault, Said, Started, pass_at_once
from incus_jobs import guest_job, run_guests, write_hosts
from jerichoci.cleanup.guests import reap_all_guests
from jerichoci.errors import InfrastructureError, PikaciError, UsageError
from jerichoci.nix.payload_files import MANIFEST
from jerichoci.plan.plan import ExecuteNode, PrepareNode, Retries
from jerichoci.runtime.guest_runner import COMMAND, ENV, VARIABLE_LIMIT
from jerichoci.runtime.incus.check import GuestSurvey
from jerichoci.runtime.job_guest import finish_of
from jerichoci.state.ledger import incus_guests
from jerichoci.status import CauseCode, FailureKind, KeepPolicy, PhaseName, Status
from plans import commanded
from runner import ORCHESTRATOR, Ended, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.record.record import JobRecord

NOBODY = 65534
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
]
ASK = """
import sys
from pathlib import Path
from jerichoci.errors import PikaciError
from jerichoci.runtime.incus.client import Incus
for path in sys.argv[1:]:
    try:
        Incus(Path(path), "pikaci").server()
    except PikaciError as error:
        print(error.message, error.hint, sep="\\n")
"""
EXEC = "POST instances/.*/exec"


async def refused(
    runner: Runner,
    *nodes: PrepareNode | ExecuteNode,
    **request: Any,  # noqa: ANN401
) -> PikaciError:
    """Why a plan isn't run at all."""
    with pytest.raises(PikaciError) as caught:
        await run_guests(runner, *nodes, **request)
    assert "\n" not in caught.value.message
    assert list(runner.state.runs.iterdir()) == []
    assert not list(incus_guests(runner.state).all())
    return caught.value


def broken(run: Ended, fake: FakeIncus) -> JobRecord:
    """A job that failed because of the infrastructure, and of which nothing is left."""
    found = run.job("a")
    assert (found.status, found.failure_kind) == (Status.FAILED, FailureKind.INFRASTRUCTURE)
    assert fake.instances == {}
    assert not run.layout.scratch.exists()
    return found


def assert_passed(run: Ended) -> None:
    assert run.record.status is Status.PASSED, run.log("a")


def message(found: JobRecord) -> str:
    assert found.cause
    assert "\n" not in found.cause.message
    return found.cause.message


# Before anything begins


async def test_a_socket_at_which_no_daemon_answers_is_named_with_the_reason(
    runner: Runner, fake: FakeIncus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.rest.ANSWER_SECS", 0.2)
    dead, mute = (fake.socket.with_name(name) for name in ("dead", "mute"))
    with socket.socket(socket.AF_UNIX) as closed, socket.socket(socket.AF_UNIX) as server:
        closed.bind(str(dead))
        server.bind(str(mute))
        server.listen()
        reasons = {
            "/nowhere/unix.socket": "No such file or directory",
            str(dead): "Connection refused",
            str(mute): ".*timed out.*",
        }
        for path, reason in reasons.items():
            write_hosts(tmp_path / "config", socket=path)
            error = await refused(runner, guest_job("a"))
            assert isinstance(error, InfrastructureError)
            assert re.fullmatch(f"Incus can't be reached at {path}: {reason}", error.message)
            assert ("pikaci doctor" in (error.hint or "")) == (path != str(mute))
    assert fake.asked == []


async def test_a_server_that_is_not_incus_is_an_error_of_the_machine(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault("GET ", "refuse", "page not found", 404, times=9)]
    error = await refused(runner, guest_job("a"))
    assert isinstance(error, InfrastructureError)
    assert "page not found" in error.message


def test_a_socket_without_permission_names_the_group_to_join_or_that_only_root_may() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        paths = [Path(directory, name) for name in ("groups", "roots")]
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
            # Its group may use the first, and its owner only if that is root.
            for path, server, mode in zip(paths, (one, other), (0o060, 0), strict=True):
                server.bind(str(path))
                server.listen()
                path.chmod(mode)
            if os.geteuid() == 0:
                os.chown(paths[0], 0, grp.getgrnam("users").gr_gid)
            group = grp.getgrgid(paths[0].stat().st_gid).gr_name
            prefix = AS_NOBODY if os.geteuid() == 0 else []
            said = subprocess.check_output(
                [*prefix, sys.executable, "-c", ASK, *map(str, paths)],
                env={**os.environ, "PYTHONPATH": str(ORCHESTRATOR)},
                text=True,
            ).splitlines()
    assert said[:2] == [
        f"Incus can't be reached at {paths[0]}: no permission",
        f"join the group {group} (`usermod -aG {group} $USER`), and log in again",
    ]
    assert said[2].endswith(": no permission")
    assert said[3].startswith("only root may use it; run incusd with `--group`")


NO_DISK = {"eth0": {"type": "nic", "network": "incusbr0"}}


@pytest.mark.parametrize(
    ("lacking", "asked", "sentence", "fix"),
    [
        ({"auth": "untrusted"}, {}, "Incus doesn't trust this user", "use its unix socket"),
        (
            *({"projects": set()}, {}, "Incus has no project pikaci"),
            "`incus project create pikaci`",
        ),
        (
            *({"profile": None}, {}, "project pikaci of Incus has no profile default"),
            "`incus profile create default --project pikaci`",
        ),
        (
            *({"profile": NO_DISK}, {}, "profile default of project pikaci has no root disk"),
            "`incus profile device add default root disk path=/ pool=POOL --project pikaci`",
        ),
        (
            *({"pools": {}}, {}, "Incus has no storage pool fast"),
            "`incus storage create fast btrfs`",
        ),
        (
            *({"images": {}}, {}),
            "project pikaci of Incus has no image pikaci/dev (role dev, container)",
            "`pikaci image import dev` builds the role's `package`, if it has one",
        ),
        (
            *({"images": {"pikaci/dev": MACHINE}}, {}),
            "image pikaci/dev is for a virtual-machine; role dev asks for a container",
            "`pikaci image import dev`",
        ),
        (
            *({"images": {"pikaci/vm": CONTAINER}}, {"role": "vm"}),
            "image pikaci/vm is for a container; role vm asks for a virtual-machine",
            "`pikaci image import vm`",
        ),
        (
            *({"drivers": "lxc"}, {"role": "vm"}),
            "role vm asks for a virtual machine, and this host's Incus can't run any",
            "`pikaci doctor`",
        ),
        ({}, {"network": "br9"}, "the host has no bridge br9", "`incus network create br9`"),
        ({}, {"role": "gpu"}, "the plan has no image for the role gpu", "plan it again"),
        ({}, {"command": "echo \udcff"}, "job a: command isn't UTF-8", "in a file"),
        ({}, {"env": {"X": "\udcff"}}, "job a: env.X isn't UTF-8", "in a file"),
        ({}, {"env": {"X\udcff": "1"}}, "job a: env.X\udcff isn't UTF-8", "in a file"),
    ],
)
async def test_what_a_job_lacks_is_said_with_what_fixes_it_before_anything_begins(
    runner: Runner,
    fake: FakeIncus,
    *,
    lacking: dict[str, Any],
    asked: dict[str, Any],
    sentence: str,
    fix: str,
) -> None:
    for name, value in lacking.items():
        setattr(fake, name, value)
    error = await refused(runner, guest_job("a", **asked))
    assert isinstance(error, UsageError)
    assert error.message == sentence
    assert fix in (error.hint or "")
    assert fake.requests("(POST|PUT|PATCH|DELETE) .*") == []


async def test_another_pool_and_project_are_looked_for_by_their_names(
    runner: Runner, fake: FakeIncus, tmp_path: Path
) -> None:
    write_hosts(tmp_path / "config", socket=str(fake.socket), project="a b/c")
    assert (await refused(runner, guest_job("a"))).message == "Incus has no project a b/c"
    write_hosts(tmp_path / "config", socket=str(fake.socket), pool="slow")
    assert (await refused(runner, guest_job("a"))).message == "Incus has no storage pool slow"


async def test_what_only_jobs_lack_that_are_not_asked_for_is_no_refusal(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.drivers = "lxc"
    jobs = [guest_job("a"), guest_job("b", role="vm")]
    run = await run_guests(runner, *jobs, jobs=frozenset({"a"}))
    assert [run.job(name).status for name in "ab"] == [Status.PASSED, Status.SKIPPED]


# What is mounted where


def manifest(*guest_paths: str) -> str:
    mounts = [
        {"name": f"m{number}", "relative_path": "share", "guest_path": path}
        for number, path in enumerate(guest_paths)
    ]
    text = json.dumps({"schema_version": 1, "kind": "data", "mounts": mounts})
    return f"mkdir -p share/pikaci; echo '{text}' > {MANIFEST}"


async def test_a_payload_that_is_mounted_over_another_is_refused_before_there_is_a_guest(
    runner: Runner, fake: FakeIncus
) -> None:
    run = await run_guests(
        runner,
        commanded("one", manifest("/data"), ["share"]),
        commanded("two", manifest("/data/below"), ["share"]),
        guest_job("a", needs=["one", "two"]),
    )
    assert "lie over each other in the guest: /data and /data/below" in message(broken(run, fake))
    assert fake.created == []


@pytest.mark.parametrize("path", ["/workspace/snapshot", "/", "/proc", "/run/x", "/artifacts/x"])
async def test_a_payload_that_is_mounted_over_what_a_guest_needs_is_refused(
    runner: Runner, fake: FakeIncus, path: str
) -> None:
    made = commanded("one", manifest(path), ["share"])
    run = await run_guests(runner, made, guest_job("a", needs=["one"]))
    cause = run.job("a").cause
    assert cause
    assert cause.code is CauseCode.PAYLOAD_INVALID
    assert fake.created == []


async def test_a_payloads_mounts_are_disks(runner: Runner, fake: FakeIncus) -> None:
    run = await run_guests(
        runner,
        commanded("one", manifest("/data", "/more/data"), ["share"]),
        guest_job("a", needs=["one"]),
    )
    assert_passed(run)
    (body,) = fake.created
    paths = {row.get("path"): row.get("source") for row in body["devices"].values()}
    assert paths["/data"] == paths["/more/data"] == f"{paths['/staged/one']}/share"


# Images whose runner isn't what it should be


async def test_an_image_without_the_runner_is_an_infrastructure_failure(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.start.NO_PROGRAM_SECS", 0.1)
    fake.script = [Said(error="Command not found")] * 99
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert message(found).startswith("image pikaci/dev has no runner: there is no /run/current-")
    assert found.cause
    assert found.cause.phase == PhaseName.LAUNCH_GUEST
    assert found.cause.hint
    assert "pikaci image build" in found.cause.hint
    assert fake.requests("PUT instances/.*/state")


async def test_a_system_that_is_still_put_together_has_its_runner_a_moment_later(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.script = [Said(error="Command not found")] * 3
    assert_passed(await run_guests(runner, guest_job("a")))


@pytest.mark.parametrize("role", ["dev", "vm"])
async def test_a_runner_with_another_contract_is_not_asked_twice(
    runner: Runner, fake: FakeIncus, role: str
) -> None:
    said = "pikaci-incus-run: this runner knows contract 2, and '1' is asked for"
    fake.script = [Said(76, said)]
    found = broken(await run_guests(runner, guest_job("a", role=role)), fake)
    assert "has another contract than 1: this runner knows contract 2" in message(found)
    assert found.cause
    assert found.cause.hint
    assert "pikaci image import" in found.cause.hint
    assert len(fake.requests(EXEC)) == 1 + HAND_OVERS


@pytest.mark.parametrize("code", [64, 71, 73, 1, 137])
async def test_a_runner_that_refuses_the_job_is_believed_at_once(
    runner: Runner, fake: FakeIncus, code: int
) -> None:
    fake.script = [Said(code, "pikaci-incus-run: /artifacts can't be written to\n")]
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert message(found).endswith(f"(exit code {code}): /artifacts can't be written to")
    assert found.cause
    assert ("`resources.memoryMib`" in (found.cause.hint or "")) == (code == 137)
    assert len(fake.requests(EXEC)) == 1 + HAND_OVERS


@pytest.mark.parametrize(
    ("said", "why", "keep"),
    [
        (Said(69, "pikaci-incus-run: not mounted yet"), "not mounted yet", KeepPolicy.NEVER),
        (Said(error="VM agent isn't running"), "VM agent isn't running", KeepPolicy.NEVER),
        (Said(error="no agent", refused=True), "no agent", KeepPolicy.ON_FAILURE),
    ],
)
async def test_a_guest_that_never_gets_ready_is_given_up_and_kept_if_asked_for(
    runner: Runner,
    fake: FakeIncus,
    monkeypatch: pytest.MonkeyPatch,
    *,
    said: Said,
    why: str,
    keep: KeepPolicy,
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.start.READY_SECS", {False: 0.2, True: 0.3})
    fake.script = [said] * 99
    run = await run_guests(runner, guest_job("a", role="vm"), keep=keep)
    found = run.job("a")
    if keep is KeepPolicy.NEVER:
        broken(run, fake)
    else:
        assert list(fake.instances) == [found.execution["instance"]]
        assert found.execution["kept_until"]
    assert found.failure_kind is FailureKind.INFRASTRUCTURE
    assert "wasn't ready after 0.3 s: " in message(found)
    assert why in message(found)
    assert fake.started == []


async def test_a_result_that_no_runner_writes_is_an_infrastructure_failure(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.job = lambda started: started.leave("result.json", "[]")
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert message(found) == "the guest wrote an invalid result.json"
    results: list[dict[str, object]] = [{}, {"status": "running"}, {"status": "error"}]
    results += [{"status": "failed", "exit_code": code} for code in (None, 0, "1")]
    for result in results:
        with pytest.raises(InfrastructureError, match="an invalid result"):
            finish_of(result)


# Creation that goes wrong


@pytest.mark.parametrize(
    ("kind", "removals", "keep"),
    [
        ("refuse", 0, KeepPolicy.NEVER),
        ("fail", 0, KeepPolicy.NEVER),
        ("half", 1, KeepPolicy.ALWAYS),
    ],
)
async def test_a_guest_that_cannot_be_created_or_started_says_why_and_leaves_nothing(
    runner: Runner,
    fake: FakeIncus,
    kind: Any,  # noqa: ANN401 - a literal
    removals: int,
    keep: KeepPolicy,
) -> None:
    fake.faults = [Fault("POST instances", kind, "Failed creating: no space left", times=9)]
    run = await run_guests(runner, guest_job("a"), keep=keep)
    assert message(run.job("a")) == "Incus: Failed creating: no space left"
    assert run.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert len(fake.created) == 1
    assert len(fake.requests("DELETE instances/.*")) == removals
    assert fake.instances == {}
    assert not list(incus_guests(runner.state).all())
    assert not (run.layout.scratch / "a-1").exists()


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        (["drop"], 2),  # it never arrived
        (["cut"], 1),  # its answer is lost
        (["forget"], 1),
        (["cut", "late"], 2),  # it arrived late
    ],
)
async def test_a_creation_that_is_cut_off_makes_one_guest(
    runner: Runner, fake: FakeIncus, faults: list[Any], requests: int
) -> None:
    late = Fault("GET instances/[^/]*", "refuse", "Not Found", 404)
    fake.faults = [late if kind == "late" else Fault("POST instances", kind) for kind in faults]
    assert_passed(await run_guests(runner, guest_job("a")))
    assert len(fake.created) == requests
    assert len(fake.started) == 1


@pytest.mark.parametrize("busy", [0, 1])
async def test_a_guest_that_a_restarted_daemon_left_half_made_is_made_anew(
    runner: Runner, fake: FakeIncus, busy: int
) -> None:
    fake.faults = [
        Fault("POST instances", "half"),
        Fault("GET operations/.*", "refuse", "Not Found", 404),
        Fault("DELETE instances/.*", "refuse", "The instance is busy", 400, times=busy),
    ]
    assert_passed(await run_guests(runner, guest_job("a")))
    assert len(fake.requests("DELETE instances/.*")) == 1 + busy
    assert len(fake.created) == 2
    assert len(fake.started) == 1


async def test_another_guest_of_that_name_is_not_taken_for_ours(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault("POST instances", "refuse", "It already exists", 409)]
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert message(found) == "Incus: It already exists"


async def test_a_daemon_that_takes_no_creation_is_given_up(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.start.CREATE_SECS", 0.5)
    fake.faults = [Fault("POST instances", "drop", times=999)]
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert "Incus can't be reached" in message(found)
    assert len(fake.created) < 10


async def test_a_second_attempt_looks_anew_for_what_the_first_found_gone(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_is_left(*_: object) -> GuestSurvey:
        return GuestSurvey(profile=None, pool=None, images={}, unpacked=frozenset())

    monkeypatch.setattr("jerichoci.runtime.incus.guest.survey", nothing_is_left)
    fake.faults = [Fault("POST instances", "refuse", "Image not provided", 400, times=9)]
    run = await run_guests(runner, guest_job("a", retries=Retries(infrastructure=1)))
    first, second = run.record.jobs[0].attempts
    assert first.cause is not None
    assert "Image not provided" in first.cause.message
    assert second.cause is not None
    assert second.cause.message == "image pikaci/dev is gone"


# Execs and their answers


@pytest.mark.parametrize(
    ("kind", "role"), [("drop", "dev"), ("cut", "dev"), ("forget", "dev"), ("cut", "vm")]
)
async def test_an_exec_whose_answer_is_lost_is_asked_again_and_starts_one_job(
    runner: Runner,
    fake: FakeIncus,
    kind: Any,  # noqa: ANN401 - a literal
    role: str,
) -> None:
    fake.faults = [Fault(EXEC, kind, times=2)]
    assert_passed(await run_guests(runner, guest_job("a", role=role)))
    assert len(fake.started) == 1


async def test_a_daemon_that_takes_no_exec_is_given_up(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.start.EXEC_SECS", 0.3)
    fake.faults = [Fault(EXEC, "drop", times=999)]
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert "Incus can't be reached" in message(found)


async def test_a_guest_that_goes_before_its_job_begins_is_an_infrastructure_failure(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault(EXEC, "refuse", "Instance not found", 404, times=99)]
    found = broken(await run_guests(runner, guest_job("a")), fake)
    assert message(found) == "Incus: Instance not found"


async def test_answers_that_are_cut_off_are_asked_for_again(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault("GET .+", "cut", times=5)]
    assert_passed(await run_guests(runner, guest_job("a")))


# What is told to the runner


def told(started: Started, name: str) -> bytes:
    """A text that a runner is told, in a variable or in a file."""
    file = started.env.get(f"{name}_FILE")
    if file is None:
        return started.env[name].encode()
    return (started.artifacts / file.removeprefix("/artifacts/")).read_bytes()


@pytest.mark.parametrize("size", [1, VARIABLE_LIMIT - 1, VARIABLE_LIMIT, 120 * 1024])
async def test_a_command_and_variables_arrive_byte_for_byte(
    runner: Runner, fake: FakeIncus, size: int
) -> None:
    text = "'\"\n\t\\$(x) `y` é ☃ \r\n; "
    command = (text * size).encode()[:size].decode(errors="ignore")
    env = {name: f"{name}=\n'☃" * (size // 8) for name in ("A", "B")}
    found: dict[str, bytes] = {}

    def play(started: Started) -> None:
        found.update({name: told(started, name) for name in (COMMAND, ENV)})
        pass_at_once(started)

    fake.job = play
    assert_passed(await run_guests(runner, guest_job("a", command, env=env)))
    (started,) = fake.started
    assert all(len(value.encode()) < 128 * 1024 - 100 for value in started.env.values())
    assert found[COMMAND] == command.encode()
    assert json.loads(found[ENV]) == env


async def test_what_a_runner_is_told_in_a_file_is_there_before_the_guest_is(
    runner: Runner, fake: FakeIncus
) -> None:
    names: list[str] = []
    create: Callable[[dict[str, Any]], Any] = fake._create

    def look(body: dict[str, Any]) -> Any:  # noqa: ANN401 - as it gives
        (source,) = (
            row["source"] for row in body["devices"].values() if row.get("path") == "/artifacts"
        )
        names.extend(path.name for path in Path(source).iterdir())
        return create(body)

    fake._create = look  # type: ignore[method-assign]
    await run_guests(runner, guest_job("a", "#" * VARIABLE_LIMIT))
    assert names == [".command"]


# The end


async def test_a_stop_that_is_refused_leaves_a_note_by_which_the_guest_is_removed_later(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault("PUT .*/state", "refuse", "disk in trouble", times=2)]
    run = await run_guests(runner, guest_job("a"))
    assert run.record.status is Status.PASSED
    assert "clean-up failed: Incus: disk in trouble" in run.log("a")
    (note,) = incus_guests(runner.state).all()
    assert not note.removal_requested
    assert reap_all_guests(runner.state) == [note.name]
    assert fake.instances == {}
    assert not list(incus_guests(runner.state).all())


async def test_a_guest_that_its_job_shut_down_is_no_error_to_stop(
    runner: Runner, fake: FakeIncus
) -> None:
    def play(started: Started) -> None:
        pass_at_once(started)
        fake.instances.clear()

    fake.job = play
    run = await run_guests(runner, guest_job("a"))
    assert_passed(run)
    assert "clean-up failed" not in run.log("a")


async def test_an_infrastructure_failure_is_tried_again_in_a_new_guest(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [Fault("POST instances", "refuse")]
    assert_passed(await run_guests(runner, guest_job("a", retries=Retries(infrastructure=1))))
    first, second = (body["name"] for body in fake.created)
    assert first != second
