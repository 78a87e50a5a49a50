"""Jobs in VMs of Macs that ssh reaches: what they get and leave, and what is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from derivations import derive
from e2e.project import wait_for
from e2e.terminal import TerminalSession
from incus.guest_project import until
from jerichoci.errors import UsageError
from jerichoci.nix.payload_files import MANIFEST
from jerichoci.plan.plan import ExecuteNode, Retries
from jerichoci.state.layout import StateLayout
from jerichoci.status import FailureKind, KeepPolicy, PhaseName, Status
from plans import RUN_ID, built, commanded, files_of, job
from records import PHASES
from remote.breaking import AtPhase, cable_cut_for, make_quick
from remote.conftest import WriteHosts, two_far_hosts
from remote.far_host import FarHost, one_far_host
from remote.leftovers import kill_agents, run_directory
from remote.machine import SYSTEM_PATH
from runner import ORCHESTRATOR, Ended, Runner
from tart.far_vms import LINES, TALKS, FarVms, phases
from tart.left import counting_vms
from tart.mac import Mac, one_far_mac
from tart_jobs import BASE, vm_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["two_far_hosts"]

NO_RETRY = Retries(infrastructure=0)
ENDED_SECS = 30
PAYLOAD = {
    "schema_version": 1,
    "kind": "tools",
    "mounts": [
        {"name": "bin", "relative_path": "bin", "guest_path": "/opt/tools", "read_only": True}
    ],
}


@pytest.fixture
def far(runner: Runner, far_mac: Mac, hosts_config: WriteHosts) -> FarVms:
    far_mac.add_base(BASE)
    return FarVms(runner, far_mac, hosts_config).config()


@pytest.fixture
def bare(runner: Runner, hosts_config: WriteHosts) -> Iterator[FarVms]:
    """A Mac whose logins find neither Nix nor tart, as those don't that have Homebrew."""
    with one_far_host("mini", environment={"PATH": SYSTEM_PATH}) as host:
        mac = Mac(host.home / ".tart", host.home / "homebrew" / "bin", host)
        mac.install()
        mac.add_base(BASE)
        yield FarVms(runner, mac, hosts_config).config(search_path=["~/homebrew/bin"])
        host.power_off()


@pytest.fixture
def macs(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts
) -> Iterator[list[FarVms]]:
    """Two Macs with the label `mac`."""
    with ExitStack() as stack:
        both = [stack.enter_context(one_far_mac(host)) for host in two_far_hosts]
        for mac in both:
            mac.add_base(BASE)
        hosts_config(*two_far_hosts, labels=["mac"], capacity={"cpus": 64})
        yield [FarVms(runner, mac, hosts_config) for mac in both]


def labelled(name: str, command: str = "true", **execute: Any) -> ExecuteNode:  # noqa: ANN401 - fields of the model
    """A job in a VM of any Mac."""
    node = vm_job(name, command, **execute)
    return node.with_(placement="remote_ssh", placement_config={"labels": ["mac"]})


def guest_log(ended: Ended, name: str = "a") -> str:
    return (ended.layout.attempt(name, 1) / "guest.log").read_text()


# What a job gets and leaves


async def test_a_job_in_a_vm_has_the_records_that_it_has_here(far: FarVms) -> None:
    command = (
        "echo hello; id -un; pwd; cat README; src/main; echo more > new;"
        " echo out > $PIKACI_ARTIFACTS/left"
    )
    ended = await far.runner.run(far.job("a", command))
    job = ended.job("a")
    assert job.status is Status.PASSED, ended.log("a")
    assert job.host == far.host.name
    assert phases(ended) == PHASES
    assert [row.path for row in job.artifacts] == ["left"]
    assert guest_log(ended) == "hello\nadmin\n/workspace/snapshot\nhello\nfrom main\n"
    assert job.attempts[-1].execution["base"] == BASE
    assert job.attempts[-1].execution["removal"] == "removed"
    kept = ended.layout.attempt("a", 1) / "artifacts"
    assert json.loads((kept / "result.json").read_text())["status"] == "passed"
    assert (kept / "files" / "left").read_text() == "out\n"
    far.assert_nothing_is_left()


async def test_a_vm_there_and_a_job_here_see_each_other_s_files(far: FarVms) -> None:
    left = "echo made by %s >$PIKACI_ARTIFACTS/file; echo 'echo runs' >$PIKACI_ARTIFACTS/tool"
    seen = "cat $PIKACI_INPUT_%s/file; ! touch $PIKACI_INPUT_%s/new"
    ended = await far.runner.run(
        job("here", f"{left % 'this'}; chmod +x $PIKACI_ARTIFACTS/tool"),
        far.job(
            "there",
            f"$PIKACI_INPUT_HERE/tool; {seen % ('HERE', 'HERE')}; {left % 'a VM'}",
            **files_of("here"),
        ),
        job("last", seen % ("THERE", "THERE"), **files_of("there")),
    )
    assert ended.job("there").status is Status.PASSED, guest_log(ended, "there")
    assert ended.job("last").status is Status.PASSED, ended.log("last")
    assert guest_log(ended, "there").startswith("runs\nmade by this\n")
    assert "made by a VM\n" in ended.log("last")
    far.assert_nothing_is_left()


async def test_what_a_vm_is_shown_is_the_host_s(far: FarVms) -> None:
    made = derive(
        stored="echo from the store > $out",
        payload=f"mkdir -p $out/share/pikaci $out/bin; echo tool > $out/bin/tool;"
        f" echo '{json.dumps(PAYLOAD)}' > $out/{MANIFEST}",
    )
    nodes = [
        built("stored", made["stored"]),
        built("payload", made["payload"]),
        commanded("commanded", "hostname > made; cat README >> made", ["made"]).with_(**far.placed),
    ]
    given, taken = far.host.work_dir / "given", far.host.work_dir / "taken"
    for path in (given, taken):
        path.mkdir()
        path.chmod(0o777)
    (given / "word").write_text("said\n")
    sysroot = add_toolchain(far)
    shares = [
        {"name": "given", "path": str(given), "read_only": True},
        {"name": "to-take", "path": str(taken), "read_only": False},
    ]
    command = """
      cat $PIKACI_INPUT_STORED $PIKACI_INPUT_PAYLOAD/bin/tool $PIKACI_INPUT_COMMANDED/made
      cat /opt/tools/tool; ls /nix/store | wc -l; cargo
      cat "$PIKACI_SHARE_GIVEN/word" > "$PIKACI_SHARE_TO_TAKE/word"
      touch $PIKACI_INPUT_COMMANDED/made 2>/dev/null || echo refused
    """
    tart = {"shares": shares, "mount_host_toolchain": True}
    needs = ["stored", "payload", "commanded"]
    job = vm_job("a", command, needs=needs, tart=tart).with_(**far.placed)
    ended = await far.runner.run(*nodes, job)
    assert ended.job("a").status is Status.PASSED, ended.log("a")
    host = far.host.name
    expected = ["from the store", "tool", host, "hello", "tool", "2", "cargo of the host"]
    assert guest_log(ended).splitlines() == [*expected, "refused"]
    assert (taken / "word").read_text() == "said\n"
    assert ended.job("a").attempts[0].execution["toolchain"] == str(sysroot)
    options = [word for word in far.mac.calls("run")[-1].argv if word.startswith("--dir=")]
    places = [option.split(":")[1] for option in options]
    assert all(place.startswith(f"{far.host.work_dir}/") for place in places), places
    far.assert_nothing_is_left()


def add_toolchain(far: FarVms) -> Path:
    """A Rust toolchain of the host, and the `rustc` that finds it."""
    sysroot, programs = far.host.work_dir / "toolchain", far.host.home / "cargo"
    for path, text in (
        (programs / "rustc", f"echo {sysroot}"),
        (sysroot / "bin" / "cargo", "echo cargo of the host"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    sysroot.chmod(0o755)
    far.config(search_path=["~/cargo"])
    return sysroot


async def test_the_host_s_own_tart_home_is_used(runner: Runner, hosts_config: WriteHosts) -> None:
    # A far host's /tmp is its own.
    with TemporaryDirectory(dir="/var/tmp") as directory:
        home = Path(directory) / "vms"
        with one_far_host("mini", environment={"TART_HOME": str(home)}) as host:
            mac = Mac(home, host.directory / "bin", host)
            mac.install()
            mac.add_base(BASE)
            far = FarVms(runner, mac, hosts_config).config()
            job = far.job("a", "exit 3")
            await runner.run(job, keep=KeepPolicy.ON_FAILURE, run_id=RUN_ID)
            assert len(far.job_vms()) == 1
            assert await shell(far, "id", "-un") == "admin\n"
            await asyncio.to_thread(far.pikaci, "gc", "--keep-runs=0")
            far.assert_nothing_is_left()
            assert not (host.home / ".tart").exists()


# Hosts without Nix


async def test_a_mac_needs_no_nix_and_may_have_tart_where_no_login_looks(bare: FarVms) -> None:
    assert bare.host.run(["sh", "-c", "command -v nix tart"], check=False).stdout == ""
    made = commanded("made", "hostname > made", ["made"]).with_(**bare.placed)
    command = "cat README $PIKACI_INPUT_MADE/made; echo more > new; exit 3"
    job = bare.job("a", command, needs=["made"])
    ended = await bare.runner.run(made, job, keep=KeepPolicy.ON_FAILURE, run_id=RUN_ID)
    assert guest_log(ended) == "hello\nmini\n", ended.log("a")
    assert await shell(bare, "cat", "new") == "more\n"
    await asyncio.to_thread(bare.pikaci, "gc", "--keep-runs=0")
    bare.assert_nothing_is_left()


async def test_a_mac_that_lacks_nix_for_a_store_path_or_tart_is_told_apart(bare: FarVms) -> None:
    build = derive(dep="echo made > $out")["dep"]
    job = bare.job("a", "cat $PIKACI_INPUT_DEP", needs=["dep"], retries=NO_RETRY)
    ended = await bare.runner.run(built("dep", build), job)
    cause = ended.job("a").cause
    assert cause is not None
    assert cause.message == "host mini has no `nix` on its PATH"
    assert "search_path" in (cause.hint or "")
    assert bare.mac.calls("clone") == []
    bare.mac.bin.joinpath("tart").unlink()
    with pytest.raises(UsageError, match=r"^mini has no tart that answers: tart .*search_path"):
        await bare.runner.run(bare.job("a"), run_id=RUN_ID)
    assert not run_directory(bare.runner.state, bare.host).exists()
    assert not bare.runner.state.run(RUN_ID).root.exists()


# The line


async def test_a_job_goes_on_while_its_line_is_cut(
    far: FarVms, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quick(monkeypatch)
    running = asyncio.ensure_future(far.runner.run(far.job("a", TALKS), run_id=RUN_ID))
    await asyncio.to_thread(far.wait_until_it_runs)
    far.host.cut()
    far.let_go()
    await asyncio.to_thread(wait_for, (far.outbox() / "result.json").exists)
    await asyncio.sleep(2)
    far.host.join()
    far.assert_it_ended_as_it_would_have(await running)
    far.assert_nothing_is_left()


@pytest.mark.parametrize(
    "phase",
    [PhaseName.PREPARE_RUNTIME, PhaseName.LAUNCH_GUEST, PhaseName.CLEANUP],
)
async def test_the_line_may_be_cut_in_each_phase(
    far: FarVms, monkeypatch: pytest.MonkeyPatch, phase: PhaseName
) -> None:
    make_quick(monkeypatch)
    with cable_cut_for(far.host, 3.0) as cut:
        ended = await far.runner.run(
            far.job("a", f"seq {LINES}; exit 3"), sinks=[AtPhase(phase, cut)]
        )
    assert ended.job("a").exit_code == 3
    assert len(ended.job("a").attempts) == 1
    assert len(guest_log(ended).splitlines()) == LINES
    assert len(far.mac.calls("clone")) == len(far.mac.calls("run")) == 1
    far.assert_nothing_is_left()


async def test_a_vm_on_a_host_that_was_lost_is_stopped_there_and_deleted_when_it_is_back(
    far: FarVms, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quick(monkeypatch)
    job = far.config(line_limit_secs=2).job("a", "sleep 600", retries=NO_RETRY)
    running = asyncio.ensure_future(far.runner.run(job, run_id=RUN_ID))
    await asyncio.to_thread(far.wait_until_it_runs)
    far.host.cut()
    ended = await running
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert far.host.name in (ended.job("a").message or "")
    (note,) = far.notes()
    assert (note.host, note.name) == (far.host.name, ended.job("a").attempts[0].execution["vm"])
    # The agent there does as if its orchestrator had died, and ends.
    await asyncio.to_thread(wait_for, lambda: not far.host.processes())
    assert far.mac.vms() == {BASE: "stopped", note.name: "stopped"}
    far.host.join()
    assert f"{far.host.name}: removed guest {note.name}" in await asyncio.to_thread(
        far.pikaci, "reap"
    )
    far.assert_nothing_is_left()


async def test_a_host_that_is_rebooted_leaves_a_vm_that_the_next_run_deletes(far: FarVms) -> None:
    job = far.job("a", "sleep 600", retries=NO_RETRY)
    running = asyncio.ensure_future(far.runner.run(job, run_id=RUN_ID))
    await asyncio.to_thread(far.wait_until_it_runs)
    await asyncio.to_thread(far.host.reboot)
    ended = await running
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert f"{far.host.name} was rebooted" in (ended.job("a").message or "")
    (name,) = far.job_vms()
    await run_until_gone(far, name)
    assert far.job_vms() == []


# Orchestrators that are killed


def kill_orchestrator(far: FarVms) -> str:
    """Have a VM there whose orchestrator was killed; its name."""
    with far.running(far.job("a", "sleep 600")) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    (name,) = far.job_vms()
    return name


def lose_agents_and_notes(far: FarVms) -> None:
    kill_agents(far.host)
    for note in (far.runner.state.root / "elsewhere" / "tart").iterdir():
        note.unlink()


@pytest.mark.parametrize("happen", [lose_agents_and_notes, lambda far: far.host.reboot()])
def test_the_vm_of_a_killed_orchestrator_is_removed_whatever_else_happens(
    far: FarVms, happen: Callable[[FarVms], None]
) -> None:
    name = kill_orchestrator(far)
    assert far.mac.vms()[name] == "running"
    happen(far)
    assert f"{far.host.name}: removed guest {name}" in far.pikaci("reap")
    assert far.runner.ended().record.status is Status.FAILED
    far.assert_nothing_is_left()
    assert "nothing to reap" in far.pikaci("reap")


def test_a_vm_stays_noted_while_its_host_has_no_tart(far: FarVms) -> None:
    name = kill_orchestrator(far)
    program, away = far.mac.bin / "tart", far.mac.bin / "elsewhere"
    program.rename(away)
    assert "could not remove guests: tart can't be started" in far.pikaci("reap")
    assert [note.name for note in far.notes()] == [name]
    away.rename(program)
    assert name in far.pikaci("reap")
    far.assert_nothing_is_left()


async def test_hosts_without_tart_are_asked_for_nothing(
    macs: list[FarVms],
) -> None:
    mac, other = macs
    other.mac.bin.joinpath("tart").unlink()
    ended = await mac.runner.run(mac.job("a"))
    assert ended.record.status is Status.PASSED, ended.log("a")
    assert "stay" not in await asyncio.to_thread(mac.pikaci, "reap")
    other.mac.bin.joinpath("tart").touch()


async def test_a_run_waits_for_no_vm_of_another_one_that_can_not_be_deleted(far: FarVms) -> None:
    name = kill_orchestrator(far)
    far.mac.fail("stop", "hang", matching=re.escape(name), times=None)
    ended = await asyncio.wait_for(far.runner.run(far.job("b")), ENDED_SECS)
    assert ended.record.status is Status.PASSED, ended.log("b")
    assert far.job_vms() == [name]
    far.mac.heal()
    await asyncio.to_thread(far.pikaci, "reap")
    far.assert_nothing_is_left()


async def run_until_gone(far: FarVms, name: str) -> None:
    """Have another run there, which goes on until a VM is gone."""
    running = asyncio.ensure_future(far.runner.run(far.job("b", until("go"))))
    await asyncio.to_thread(wait_for, lambda: name not in far.mac.vms() or running.done())
    pattern = "runs/*/scratch/b-1/artifacts/files"
    for files in await asyncio.to_thread(wait_for, lambda: list(far.host.work_dir.glob(pattern))):
        (files / "go").touch()
    ended = await running
    assert ended.record.status is Status.PASSED, ended.log("b")


def test_the_vm_of_a_run_that_lives_is_left_alone(far: FarVms) -> None:
    with far.running(far.job("a", until("go"))) as process:
        far.pikaci("reap")
        far.pikaci("gc", "--keep-runs=0")
        assert list(far.mac.vms().values()).count("running") == 1
        far.let_go()
        process.wait(60)
    assert far.runner.ended().record.status is Status.PASSED
    far.assert_nothing_is_left()


def test_a_run_is_cancelled_with_its_log_and_artifacts(far: FarVms) -> None:
    command = f"echo said; echo kept > $PIKACI_ARTIFACTS/kept; {until('never')}"
    with far.running(far.job("a", command)) as process:
        wait_for((far.outbox() / "files" / "kept").exists)
        events = far.runner.state.run(RUN_ID).events
        wait_for(lambda: b"wait_for_completion" in events.read_bytes())
        process.send_signal(signal.SIGINT)
        process.wait(60)
    ended = far.runner.ended()
    assert ended.job("a").status is Status.CANCELLED
    assert [row.path for row in ended.job("a").artifacts] == ["kept"]
    assert guest_log(ended) == "said\n"
    far.assert_nothing_is_left()


# What is kept


async def keep_one(far: FarVms) -> str:
    """The name of the VM there that a failed run has kept."""
    job = far.job("a", "echo made > made; exit 3")
    ended = await far.runner.run(job, keep=KeepPolicy.ON_FAILURE, run_id=RUN_ID)
    assert ended.job("a").exit_code == 3, ended.log("a")
    name: str = ended.job("a").attempts[0].execution["vm"]
    assert far.mac.vms() == {BASE: "stopped", name: "stopped"}
    return name


async def shell(far: FarVms, *command: str) -> str:
    """What a command prints in the kept VM."""
    return await asyncio.to_thread(far.pikaci, "shell", RUN_ID, "a", "--", *command)


async def test_a_kept_vm_is_booted_for_shells_and_kept_until_its_run_is_removed(
    far: FarVms,
) -> None:
    name = await keep_one(far)
    said = await shell(far, "sh", "-c", "id -un; pwd; cat made README; cp made more")
    assert said == "admin\n/workspace/snapshot\nmade\nhello\n"
    assert far.mac.vms()[name] == "stopped"
    assert await shell(far, "cat", "more") == "made\n"
    assert not far.has_tart_processes()
    await asyncio.to_thread(far.pikaci, "reap")
    assert far.job_vms() == [name]
    assert run_directory(far.runner.state, far.host).exists()
    await asyncio.to_thread(far.pikaci, "gc", "--keep-runs=0")
    far.assert_nothing_is_left()


@contextmanager
def on_a_terminal(far: FarVms) -> Iterator[TerminalSession]:
    """A shell in the kept VM; it is killed in the end."""
    words = ["shell", RUN_ID, "a", f"--state-root={far.runner.state.root}"]
    argv = [sys.executable, "-m", "pikaci", *words]
    env = {**os.environ, "PYTHONPATH": str(ORCHESTRATOR)}
    with TerminalSession(argv, far.host.directory, env) as screen:
        screen.wait_for("a$ ")
        yield screen


async def test_a_shell_there_may_have_a_terminal_be_killed_and_lose_its_connection(
    far: FarVms,
) -> None:
    name = await keep_one(far)

    def use() -> str:
        with on_a_terminal(far) as screen:
            screen.type("cat made; pwd; echo $((40 + 2))\n")
            screen.wait_for("42")
            screen.type("exit 5\n")
            assert screen.wait() == 5
            return screen.text

    def leave() -> None:
        with on_a_terminal(far):
            pass

    def lose_connection() -> tuple[int, str]:
        with on_a_terminal(far) as screen:
            far.host.kill_sessions()
            return screen.wait(), screen.text

    assert {"made", "/workspace/snapshot"} <= set((await asyncio.to_thread(use)).splitlines())
    assert far.mac.vms()[name] == "stopped"
    await asyncio.to_thread(leave)
    assert far.mac.vms()[name] == "running"
    code, text = await asyncio.to_thread(lose_connection)
    assert (code, "pikaci: the connection broke" in text) == (75, True), text
    assert far.mac.vms()[name] == "stopped"
    assert await shell(far, "cat", "made") == "made\n"


async def test_a_kept_vm_goes_when_its_time_is_over(far: FarVms) -> None:
    await keep_one(far)
    (note,) = (far.runner.state.root / "elsewhere" / "tart").glob("*.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"kept_until": 1.0}))
    (run_directory(far.runner.state, far.host) / "kept").write_text("1.0")
    await asyncio.to_thread(far.pikaci, "reap")
    far.assert_nothing_is_left()


# More than one host


async def test_of_a_mac_and_another_host_the_mac_is_taken_and_without_a_mac_none(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts
) -> None:
    other, host = two_far_hosts
    hosts_config(other, host, labels=["mac"])
    with pytest.raises(UsageError, match="needs a Mac with Apple silicon"):
        await runner.run(labelled("a"))
    assert list(runner.state.runs.iterdir()) == []
    with one_far_mac(host) as mac:
        mac.add_base(BASE)
        ended = await runner.run(labelled("a", "cat README"), run_id=RUN_ID)
    job = ended.job("a")
    assert job.status is Status.PASSED, job.message
    assert job.host == host.name
    for row in job.passed_over:
        assert (row.host, "needs a Mac" in row.reason) == (other.name, True), row
    assert list((other.work_dir / "runs").glob("*")) == []


async def test_of_two_macs_the_one_with_the_base_is_taken(
    runner: Runner, macs: list[FarVms]
) -> None:
    macs[0].mac.tart("delete", BASE)
    ended = await runner.run(labelled("a"))
    job = ended.job("a")
    assert (job.status, job.host) == (Status.PASSED, macs[1].host.name), job.message
    for row in job.passed_over:
        assert row.reason == f"{macs[0].host.name} has no VM {BASE}, the base of job a"


async def test_a_job_whose_vm_crashes_is_tried_again(runner: Runner, macs: list[FarVms]) -> None:
    node = labelled("a", until("go"), retries=Retries(infrastructure=1))
    running = asyncio.ensure_future(runner.run(node, run_id=RUN_ID))
    first = await asyncio.to_thread(wait_for, lambda: list(filter(outboxes, macs)))
    await asyncio.to_thread(first[0].mac.crash, first[0].job_vms()[0])
    again = "runs/*/scratch/a-2/artifacts/files"
    works = [far.host.work_dir for far in macs]
    (files,) = await asyncio.to_thread(
        wait_for, lambda: [path for work in works for path in work.glob(again)]
    )
    (files / "go").touch()
    ended = await running
    assert ended.job("a").status is Status.PASSED, ended.job("a").message
    kinds = [row.failure_kind for row in ended.job("a").attempts]
    assert kinds == [FailureKind.INFRASTRUCTURE, None]
    for far in macs:
        far.assert_nothing_is_left()


def outboxes(far: FarVms) -> list[Path]:
    return list(far.host.work_dir.glob("runs/*/scratch/*/artifacts/files"))


async def test_no_more_than_two_vms_of_several_state_roots_are_on_a_mac_at_once(
    far: FarVms, tmp_path: Path
) -> None:
    far.config(capacity={"cpus": 64})
    other = replace(far, runner=Runner(StateLayout(tmp_path / "other"), far.runner.tree))
    other.runner.state.make()
    shutil.copytree(far.runner.state.git, other.runner.state.git)
    with counting_vms(far.mac) as seen:
        ends = await asyncio.gather(
            *(
                one.runner.run(*(one.job(f"j{n}", "sleep 0.3") for n in range(2)))
                for one in (far, other)
            )
        )
    assert {ended.record.status for ended in ends} == {Status.PASSED}
    assert max(seen) == 2
    for one in (far, other):
        one.assert_nothing_is_left()
