"""Jobs in VMs of a Mac, run by the engine with the fake `tart`."""

from __future__ import annotations

import hashlib
import itertools
import stat
from typing import TYPE_CHECKING

import pytest

from incus.guest_project import until_logged
from jerichoci.plan.plan import ExecuteNode, Resources
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.status import FailureKind, Outcome, PhaseName, Status
from plans import RUN_ID
from runner import Ended, Runner
from tart.left import assert_nothing_is_left, vm_name
from tart_jobs import BASE, vm_job
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from tart.mac import Mac

OUTPUT_BYTES = 20 * 2**20
LONG = 120_000
"""Bytes of a command, and of a variable: none is too long for itself, both together are."""


pytestmark = pytest.mark.usefixtures("base")


def said(run: Ended, name: str = "a") -> str:
    return (run.layout.attempt(name, 1) / "guest.log").read_text()


async def passes(runner: Runner, job: ExecuteNode) -> Ended:
    run = await runner.run(job, run_id=RUN_ID)
    assert run.job("a").status is Status.PASSED, run.log("a")
    return run


def steps(mac: Mac) -> list[str]:
    """The subcommands in order; `run` has another moment when it says so."""
    told = (call.step for call in mac.calls() if call.step != "run")
    return [step for step, _ in itertools.groupby(told)]


# What happens


async def test_a_job_runs_in_a_vm_of_its_own_which_is_gone_afterwards(
    runner: Runner, mac: Mac
) -> None:
    command = (
        "id -un; pwd; cat README; ls -d /nix 2>/dev/null || echo no store;"
        " echo kept > $PIKACI_ARTIFACTS/left; echo more > new"
    )
    run = await passes(runner, vm_job("a", command))
    assert said(run) == "admin\n/workspace/snapshot\nhello\nno store\n"
    assert steps(mac) == ["list", "get", "list", "clone", "list", "exec", "stop", "delete"]
    name = vm_name(runner.state)
    assert [call.argv for call in mac.calls("clone")] == [("clone", BASE, name)]
    (ran,) = mac.calls("run")
    assert ran.argv[:5] == ("run", name, "--no-graphics", "--no-audio", "--no-clipboard")
    assert all(word.startswith("--dir=") for word in ran.argv[5:])
    assert {call.argv[1] for call in mac.calls("exec", "stop", "delete")} == {name}
    assert [call.argv for call in mac.calls("delete")] == [("delete", name)]
    assert mac.vms() == {BASE: "stopped"}
    assert_nothing_is_left(mac, runner.state)

    job = run.job("a")
    assert [artifact.path for artifact in job.artifacts] == ["left"]
    assert [phase.phase for phase in job.phases] == list(PhaseName)
    assert {phase.outcome for phase in job.phases} == {Outcome.PASSED}
    told = {"vm": name, "base": BASE, "removal": "removed"}
    assert told.items() <= job.execution.items()
    assert all(job.execution[key] >= 0 for key in ("clone_ms", "boot_ms", "start_ms"))
    kept = run.layout.attempt("a", 1) / "artifacts"
    assert '"status": "passed"' in (kept / "result.json").read_text()
    events = (kept / "events.jsonl").read_text()
    assert '"workspace": "copy"' in events
    assert "command_finished" in events


@pytest.mark.parametrize("runs", [False, True])
async def test_a_vm_that_was_left_under_the_job_s_name_goes_first(
    runner: Runner, mac: Mac, *, runs: bool
) -> None:
    name = vm_name(runner.state)
    mac.tart("clone", BASE, name)
    mac.run_by_hand(name)
    mac.tart("exec", name, "/bin/sh", "-c", "echo old > /Users/admin/old")
    if not runs:
        mac.tart("stop", name)
    run = await passes(runner, vm_job("a", "ls /Users/admin"))
    assert said(run) == ""
    assert steps(mac)[:6] == ["list", "get", "list", "stop", "delete", "clone"]
    assert_nothing_is_left(mac, runner.state)


async def test_a_vm_is_set_to_the_resources_that_the_job_asks_for(runner: Runner, mac: Mac) -> None:
    mac.fail("delete", times=None)
    job = vm_job("a", resources=Resources(cpus=3, memory_mib=6000))
    await passes(runner, job)
    name = vm_name(runner.state)
    (call,) = mac.calls("set")
    assert call.argv == ("set", name, "--cpu", "3", "--memory", "6000")
    config = mac.config(name)
    assert (config["cpuCount"], config["memorySize"]) == (3, 6000 << 20)


async def test_a_base_with_a_registry_s_name_is_pulled(runner: Runner, mac: Mac) -> None:
    image = "ghcr.io/cirruslabs/macos-sequoia-base:latest"
    mac.add_base(image)
    run = await passes(runner, vm_job("a", base=image))
    assert mac.calls("clone")[0].argv[1] == image
    assert image in mac.tart("list", "--source", "oci", "--quiet").stdout.split()
    assert run.job("a").execution["base"] == image


# What the job has


async def test_a_command_and_variables_come_whole_whatever_they_have(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_ONLY", "host")
    env = {"QUOTES": "a \"b\" 'c' $HOME `d` \\", "LINES": "one\ntwo\n", "WORD": "grün → 日本"}
    long = {"LONG": "b" * LONG, "OTHER": "c" * LONG}
    command = f"""text={"a" * LONG}; echo ${{#text}} ${{#LONG}} ${{#OTHER}}
        printf '%s|' "$QUOTES" "$LINES" "$WORD" "${{HOST_ONLY-unset}}" "$HOME" """
    run = await passes(runner, vm_job("a", command, env=env | long))
    values = [*env.values(), "unset", "/Users/admin"]
    assert said(run) == f"{LONG} {LONG} {LONG}\n" + "".join(f"{value}|" for value in values)


async def test_a_workspace_can_be_written_and_the_snapshot_is_not_changed(runner: Runner) -> None:
    command = """
      id -u; touch /etc/mine 2>/dev/null || echo refused
      rm README; mkdir README; touch README/new; echo more >> src/main; ./src/main; ls
    """
    run = await passes(runner, vm_job("a", command))
    assert said(run) == "501\nrefused\nfrom main\nREADME\nsrc\n"
    assert (runner.snapshot / "README").read_text() == "hello\n"
    assert (runner.snapshot / "src/main").read_text() == "#!/bin/sh\necho from main\n"
    assert sorted(path.name for path in runner.snapshot.iterdir()) == ["README", "src"]


@pytest.mark.parametrize("writable", [True, False])
async def test_root_can_write_its_workspace_if_the_job_says_so_and_never_the_snapshot(
    runner: Runner, *, writable: bool
) -> None:
    command = """
      id -u; pwd; touch /etc/mine && echo made; touch new && echo written
      echo x > '/Volumes/My Shared Files/snapshot/README' || cat README
    """
    run = await passes(runner, vm_job("a", command, run_as_root=True, writable_workspace=writable))
    lines = [line for line in said(run).splitlines() if "Read-only file system" not in line]
    written = ["written"] if writable else []
    assert lines == ["0", "/workspace/snapshot", "made", *written, "hello"]
    assert (runner.snapshot / "README").read_text() == "hello\n"


async def test_names_have_any_letters(runner: Runner, tmp_path: Path) -> None:
    names = ["a b", "grün → 日本", "one\ntwo", "-r"]
    user = UserTree(tmp_path / "other")
    for name in names:
        user.write(f"dir ectory/{name}", "content\n")
    tree = (await take_snapshot(runner.state.root, user.root)).tree
    command = 'cp -r "dir ectory/." "$PIKACI_ARTIFACTS/"; cat "dir ectory"/*'
    run = await passes(Runner(runner.state, tree), vm_job("a", command))
    assert said(run) == "content\n" * len(names)
    assert sorted(row.path for row in run.job("a").artifacts) == sorted(names)


# What it leaves


async def test_much_output_is_complete(runner: Runner) -> None:
    run = await passes(runner, vm_job("a", f"yes 0123456789abcde | head -c {OUTPUT_BYTES}"))
    log = (run.layout.attempt("a", 1) / "guest.log").read_bytes()
    expected = b"0123456789abcde\n" * (OUTPUT_BYTES // 16)
    assert hashlib.sha256(log).digest() == hashlib.sha256(expected).digest()


async def test_output_that_is_no_text_is_kept_byte_by_byte(runner: Runner) -> None:
    run = await passes(runner, vm_job("a", r"printf 'a\377\376\000b\n'; echo err >&2"))
    log = (run.layout.attempt("a", 1) / "guest.log").read_bytes()
    assert log == b"a\xff\xfe\x00b\nerr\n"


async def test_what_a_hostile_job_leaves_does_no_harm(runner: Runner) -> None:
    command = """
      cd "$PIKACI_ARTIFACTS"
      cp /bin/true setuid; chmod 6777 setuid
      echo secret > unreadable; chmod 0 unreadable
      ln -s /etc/shadow link; ln -s / up; mkfifo fifo; mknod device c 1 3 || true
      mkdir closed; echo inside > closed/file; chmod 0 closed
      ln -s /etc/shadow ../stray; rm -f ../events.jsonl; ln -s /etc/shadow ../events.jsonl
    """
    run = await passes(runner, vm_job("a", command, run_as_root=True))
    kept = run.layout.attempt("a", 1) / "artifacts"
    rows = sorted(row.path for row in run.job("a").artifacts)
    assert rows == ["closed/file", "setuid", "unreadable"]
    assert all(path.is_dir() or stat.S_ISREG(path.lstat().st_mode) for path in kept.rglob("*"))
    assert not any(path.is_symlink() for path in kept.rglob("*"))
    assert not (kept / "events.jsonl").exists()
    assert stat.S_IMODE((kept / "files/setuid").stat().st_mode) == 0o755


async def test_a_job_that_switches_its_vm_off_is_infrastructure(runner: Runner, mac: Mac) -> None:
    job = vm_job(
        "a", f"echo before; {until_logged('before')} shutdown -h now; sleep 60", run_as_root=True
    )
    run = await runner.run(job)
    assert run.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    cause = run.job("a").cause
    assert cause
    assert "was switched off (tart exited with 0) before its job was over" in cause.message
    assert cause.phase == PhaseName.WAIT_FOR_COMPLETION
    assert said(run) == "before\n"
    assert_nothing_is_left(mac, runner.state)
