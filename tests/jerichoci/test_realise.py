from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derivations import derive, is_valid, realise
from e2e.project import processes, shim, wait_for
from jerichoci.nix import command as nix
from jerichoci.record.record import PreparedOutputs
from jerichoci.status import FailureKind, Status
from plans import built, job
from privilege import only_root_can

if TYPE_CHECKING:
    from jerichoci.plan.plan import NixBuild
    from runner import Ended, Runner

READ = "cat $PIKACI_INPUT_{}"


def reader(name: str) -> str:
    return READ.format(name.upper())


async def run_all(runner: Runner, builds: dict[str, NixBuild]) -> Ended:
    """Build all, with a job for each that prints its output."""
    nodes = [built(name, build) for name, build in builds.items()]
    jobs = [job(f"use-{name}", reader(name), needs=[name]) for name in builds]
    return await runner.run(*nodes, *jobs)


@pytest.fixture
def nix_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has a line for each `nix build` that builds."""
    calls = tmp_path / "calls"
    calls.touch()
    script = f'case "$*" in *--keep-going*) echo "$*" >> {calls};; esac\nexec "$real" "$@"'
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "nix", script))
    return calls


def roots_of(path: str) -> list[str]:
    argv = ["nix-store", "--query", "--roots", path]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


async def test_many_outputs_are_made_in_one_call_rooted_and_recorded(
    runner: Runner, nix_calls: Path
) -> None:
    builds = derive(a="echo 1 > $out", b="echo 2 > $out", there="echo 3 > $out")
    realise(builds["there"])
    run = await run_all(runner, builds)
    assert run.record.status is Status.PASSED
    assert [run.said(f"use-{name}") for name in builds] == [["1"], ["2"], ["3"]]
    (call,) = nix_calls.read_text().splitlines()
    assert builds["there"].installable not in call
    timings = {row.node_id: row.cached for row in run.record.prepare_timings}
    assert timings == {"a": False, "b": False, "there": True}
    text = run.layout.prepared_outputs.read_bytes()
    outputs = {row.node_id: row for row in PreparedOutputs.model_validate_json(text).outputs}
    for name, build in builds.items():
        assert [row for row in roots_of(build.out_path) if str(run.layout.gcroots) in row], name
        assert outputs[name].path == build.out_path
        root = outputs[name].gc_root
        assert root
        assert str((run.layout.root / root).readlink()) == build.out_path
    again = await run_all(runner, builds)
    assert again.record.status is Status.PASSED
    assert nix_calls.read_text().splitlines() == [call]


async def test_builds_run_at_the_same_time(runner: Runner, tmp_path: Path) -> None:
    only_root_can("have a Nix that builds as itself")
    meet = "touch {0}/{1}; until [ -e {0}/{2} ]; do sleep 0.02; done; echo > $out"
    builds = derive(a=meet.format(tmp_path, "a", "b"), b=meet.format(tmp_path, "b", "a"))
    if (os.cpu_count() or 1) < 2:
        pytest.fail("this needs two CPUs")
    assert (await run_all(runner, builds)).record.status is Status.PASSED


async def test_one_that_fails_does_not_stop_the_others(runner: Runner) -> None:
    builds = derive(
        a="echo broken >&2; exit 1",
        b="sleep 0.5; echo fine > $out",
        deep="echo sunk >&2; exit 1",
        top="echo > $out",
        needs={"top": ["deep"]},
    )
    del builds["deep"]
    run = await run_all(runner, builds)
    assert run.job("use-b").status is Status.PASSED
    assert run.job("use-a").failure_kind is FailureKind.TEST_FAILURE
    message = run.job("use-a").message or ""
    assert message.startswith("prepare a does not build: ")
    assert "exit code 1" in message
    assert run.job("use-a").attempts == []
    assert "a> broken\n" in run.log("use-a")
    # A dependency that fails is named.
    assert run.job("use-top").failure_kind is FailureKind.TEST_FAILURE
    message = run.job("use-top").message or ""
    assert message.startswith("prepare top does not build: ")
    assert "-deep.drv" in message
    assert "top> sunk\n" in run.log("use-top")


async def test_what_a_builder_prints_reaches_the_jobs_that_need_it_and_no_other(
    runner: Runner,
) -> None:
    builds = derive(
        deep="echo from deep; echo > $out",
        a="echo from a; echo > $out",
        b="echo from b; echo > $out",
        needs={"a": ["deep"]},
    )
    run = await runner.run(
        *(built(name, builds[name]) for name in "ab"),
        job("one", needs=["a"]),
        job("two", needs=["b"]),
        job("both", needs=["a", "b"]),
        job("after", after=["one"]),
        job("none"),
    )
    heard = {
        name: {line for line in ("from deep", "from a", "from b") if line in run.log(name)}
        for name in ("one", "two", "both", "after", "none")
    }
    assert heard == {
        "one": {"from deep", "from a"},
        "two": {"from b"},
        "both": {"from deep", "from a", "from b"},
        "after": {"from deep", "from a"},
        "none": set(),
    }


async def test_a_path_that_nix_does_not_vouch_for_is_built(runner: Runner) -> None:
    only_root_can("write to the Nix store")
    builds = derive(a="echo made > $out", b="echo there > $out")
    realise(builds["b"])
    Path(builds["a"].out_path).write_text("half")
    run = await run_all(runner, builds)
    assert run.said("use-a") == ["made"]
    assert [row.cached for row in run.record.prepare_timings] == [False, True]


async def test_a_job_does_not_wait_for_what_it_does_not_need(
    runner: Runner, tmp_path: Path
) -> None:
    only_root_can("have a Nix that builds as itself")
    wait = f"until [ -e {tmp_path}/done ]; do sleep 0.02; done; echo > $out"
    builds = derive(fast="echo > $out", slow=wait)
    nodes = [built(name, build) for name, build in builds.items()]
    run = await runner.run(
        *nodes, job("first", f"touch {tmp_path}/done", needs=["fast"]), job("last", needs=["slow"])
    )
    assert run.record.status is Status.PASSED


async def test_a_build_over_its_time_is_a_timeout_and_the_others_go_on(
    runner: Runner, marker: str
) -> None:
    builds = derive(
        timeouts={"slow": 1, "fine": 600},
        slow=f"sleep 600; : {marker}",
        fine="sleep 2; echo fine > $out",
    )
    async with asyncio.timeout(40):
        run = await run_all(runner, builds)
    assert run.job("use-slow").failure_kind is FailureKind.TIMEOUT
    assert run.job("use-slow").message == "prepare slow was not built within 1 s"
    assert run.said("use-fine") == ["fine"]
    assert processes(marker) == []


async def test_a_store_that_does_not_answer_is_infrastructure(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = derive(a="echo > $out", b="echo > $out", there="echo > $out")
    there = {"there": builds.pop("there")}
    realise(there["there"])
    monkeypatch.setenv("NIX_REMOTE", "unix:///nonexistent/socket")
    for some in (builds, there):
        run = await run_all(runner, some)
        assert {row.failure_kind for row in run.record.jobs} == {FailureKind.INFRASTRUCTURE}
        assert run.record.failure_kind is FailureKind.INFRASTRUCTURE


async def test_a_missing_nix_is_infrastructure(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builds = derive(a="echo > $out", b="echo > $out")
    tools = tmp_path / "tools"
    tools.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).glob("*"):
            if "nix" not in program.name and not (tools / program.name).is_symlink():
                (tools / program.name).symlink_to(program)
    assert shutil.which("nix", path=str(tools)) is None
    monkeypatch.setenv("PATH", str(tools))
    for some in (builds, {"a": builds["a"]}):
        run = await run_all(runner, some)
        assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
        assert "nix" in (run.record.message or "")


async def test_a_nix_that_only_fails_is_infrastructure(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builds = derive(a="echo > $out")
    script = 'echo "no space in the daemon" >&2; exit 1'
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "nix", script))
    run = await run_all(runner, builds)
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert run.record.message == "prepare a could not be realised: no space in the daemon"
    assert "no space in the daemon" in run.log("use-a")


async def test_a_nix_that_is_killed_is_infrastructure(
    runner: Runner, tmp_path: Path, marker: str
) -> None:
    only_root_can("have a Nix that builds as itself")
    begun = tmp_path / "begun"
    builds = derive(a=f"echo {marker} > {begun}; sleep 600")
    running = asyncio.create_task(run_all(runner, builds))
    await asyncio.to_thread(wait_for, begun.exists)
    for line in processes("--keep-going"):
        if builds["a"].installable in line:
            os.kill(int(line.split()[0]), signal.SIGKILL)
    run = await asyncio.wait_for(running, 60)
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert not is_valid(builds["a"].out_path)


async def test_a_builder_ends_when_what_nix_says_can_not_be_read(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marker: str
) -> None:
    only_root_can("have a Nix that builds as itself")

    def broken(_line: bytes) -> None:
        if (tmp_path / "begun").exists():
            raise ValueError("broken")

    monkeypatch.setattr("jerichoci.nix.realise.parse_line", broken)
    says = "while :; do echo more; sleep 0.1; done"
    builds = derive(a=f"touch {tmp_path}/begun; sh -c '{says}; : {marker}'")
    run = await run_all(runner, builds)
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert processes(marker) == []


HANGS = """case "$*" in {pattern}) touch {begun}; sleep 600; : {marker};; esac
exec "$real" "$@\""""


@pytest.mark.parametrize(
    "call", ["nix *--out-link*", "nix-store *--requisites*", "nix-store *--outputs*"]
)
async def test_a_nix_that_hangs_does_not_delay_a_cancel(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marker: str, call: str
) -> None:
    program, pattern = call.split()
    builds = derive(a="echo > $out", b="exit 1")
    begun = tmp_path / "begun"
    script = HANGS.format(pattern=pattern, begun=begun, marker=marker)
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", program, script))
    running = asyncio.create_task(run_all(runner, builds))
    await asyncio.to_thread(wait_for, begun.exists)
    os.kill(os.getpid(), signal.SIGTERM)
    run = await asyncio.wait_for(running, 80)
    assert run.record.status is Status.CANCELLED
    assert processes(marker) == []


async def test_a_nix_that_hangs_has_the_nodes_own_time(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marker: str
) -> None:
    builds = derive(timeouts={"a": 2}, a="echo > $out")
    script = HANGS.format(pattern="*--out-link*", begun=tmp_path / "begun", marker=marker)
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "nix", script))
    run = await asyncio.wait_for(run_all(runner, builds), 80)
    assert run.record.failure_kind is FailureKind.TIMEOUT
    assert processes(marker) == []


async def test_a_surprise_while_a_node_is_judged_is_that_nodes_failure(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_paths: object) -> None:
        raise AttributeError("'list' object has no attribute 'get'")

    monkeypatch.setattr("jerichoci.nix.command.invalid", broken)
    builds = derive(a="exit 1", b="echo fine > $out")
    run = await run_all(runner, builds)
    assert run.job("use-a").failure_kind is FailureKind.INFRASTRUCTURE
    assert "'list' object" in (run.job("use-a").message or "")
    assert run.said("use-b") == ["fine"]


async def test_a_nix_that_knows_the_store_only_by_ping_is_asked_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = (
        'case " $* " in *" ping "*) echo pong; exit 0;; esac; '
        "echo \"error: 'info' is not a recognised command\" >&2; exit 1"
    )
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "nix", script))
    assert (await nix.ask_store()).reason is None


async def test_a_cancel_leaves_no_builder(runner: Runner, tmp_path: Path, marker: str) -> None:
    only_root_can("have a Nix that builds as itself")
    begun = tmp_path / "begun"
    builds = derive(a=f"touch {begun}; sh -c 'sleep 600; : {marker}'")
    running = asyncio.create_task(run_all(runner, builds))
    await asyncio.to_thread(wait_for, begun.exists)
    os.kill(os.getpid(), signal.SIGTERM)
    run = await asyncio.wait_for(running, 60)
    assert run.record.status is Status.CANCELLED
    assert run.job("use-a").status is Status.CANCELLED
    assert run.record.prepare_timings[0].outcome == "cancelled"
    assert processes(marker) == []


async def test_an_error_of_ours_starts_no_job(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("jerichoci.nix.realise.Realiser._take_what_is_valid", broken)
    build = derive(a="echo > $out")["a"]
    run = await runner.run(built("a", build), job("use", f"touch {tmp_path}/ran", needs=["a"]))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert not (tmp_path / "ran").exists()
