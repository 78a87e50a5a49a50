from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

import pytest

from derivations import derive
from e2e.project import processes, wait_for
from jerichoci.record.record import PreparedOutputs
from jerichoci.status import FailureKind, Status
from plans import built, commanded, job

if TYPE_CHECKING:
    from pathlib import Path

    from runner import Ended, Runner

USE = job("use", "cat $PIKACI_INPUT_DEP/out", needs=["dep"])


def cause_of(run: Ended, name: str = "use") -> tuple[str, str | None]:
    """The code and the phase of why a job failed."""
    cause = run.job(name).cause
    assert cause
    return str(cause.code), cause.phase


async def test_a_commands_outputs_and_lines_reach_the_jobs_that_need_it_and_no_other(
    runner: Runner,
) -> None:
    command = """
        mkdir -p a/b; cp README a/b/c; echo x > README; echo 1 > out
        echo printed; printf unfinished >&2
    """
    prepare = commanded("dep", command, ["out", "a/b"])
    two = job("two", "cat $PIKACI_INPUT_DEP/a/b/c", needs=["dep"])
    run = await runner.run(prepare, USE, two, job("other", "cat README"))
    assert (run.said("use"), run.said("two")) == (["1"], ["hello"])
    (output,) = PreparedOutputs.model_validate_json(
        run.layout.prepared_outputs.read_bytes()
    ).outputs
    assert (output.node_id, output.type, output.outcome) == ("dep", "host_command", "passed")
    assert output.path == str(run.layout.prepared / "dep/out")
    assert "dep> printed\ndep> unfinished\n" in run.log("use")
    assert "printed" not in run.log("other")
    assert run.said("other") == ["hello"]
    assert (runner.snapshot / "README").read_text() == "hello\n"
    assert not run.layout.scratch.exists()


@pytest.mark.parametrize(
    ("command", "outputs", "code", "message"),
    [
        ("touch out", ["out", "gone"], "output_missing", "prepare dep ended without leaving gone"),
        ("touch out; exit 7", ["out"], "host_command_failed", "prepare dep exited with 7"),
        ("if", ["out"], "host_command_failed", "prepare dep exited with 2"),
    ],
)
async def test_a_command_that_fails_is_a_test_failure(
    runner: Runner, command: str, outputs: list[str], code: str, message: str
) -> None:
    run = await runner.run(commanded("dep", command, outputs), USE)
    assert run.record.failure_kind is FailureKind.TEST_FAILURE
    assert cause_of(run) == (code, "prepare")
    assert run.record.message == message
    assert message in run.log("use")


async def test_a_command_over_its_time_is_a_timeout(runner: Runner, marker: str) -> None:
    command = f"sh -c 'sleep 600; : {marker}'"
    run = await runner.run(commanded("dep", command, timeout_secs=1), USE)
    assert run.record.failure_kind is FailureKind.TIMEOUT
    assert cause_of(run) == ("host_command_timed_out", "prepare")
    assert processes(marker) == []


async def test_a_command_may_use_what_nix_built(runner: Runner) -> None:
    build = derive(made="echo from nix > $out")["made"]
    prepare = commanded("dep", f"cp {build.out_path} out", needs=["made"])
    run = await runner.run(built("made", build), prepare, USE)
    assert run.said("use") == ["from nix"]


async def test_an_output_that_was_there_stays_rooted_whatever_prepares_are_called(
    runner: Runner,
) -> None:
    builds = derive(old="echo old > $out", new="echo new > $out")
    await runner.run(built("first", builds["old"]), job("use", needs=["first"]))
    nodes = [built("valid", builds["new"]), built("b", builds["old"])]
    run = await runner.run(*nodes, job("use", needs=["valid", "b"]))
    rooted = {str(link.readlink()) for link in run.layout.gcroots.iterdir()}
    assert rooted == {build.out_path for build in builds.values()}


async def test_a_command_that_needs_a_failed_build_does_not_run(
    runner: Runner, tmp_path: Path
) -> None:
    build = derive(made="exit 1")["made"]
    prepare = commanded("dep", f"touch {tmp_path}/ran", needs=["made"])
    run = await runner.run(built("made", build), prepare, USE)
    assert run.record.failure_kind is FailureKind.TEST_FAILURE
    assert (run.record.message or "").startswith("prepare made does not build: ")
    assert not (tmp_path / "ran").exists()


async def test_commands_run_at_the_same_time(runner: Runner, tmp_path: Path) -> None:
    meet = "touch {0}/{1}; until [ -e {0}/{2} ]; do sleep 0.02; done; touch out"
    run = await runner.run(
        commanded("dep", meet.format(tmp_path, "a", "b")),
        commanded("dep2", meet.format(tmp_path, "b", "a")),
        USE,
        job("use2", needs=["dep2"]),
    )
    assert run.record.status is Status.PASSED


async def test_a_cancel_ends_a_command(runner: Runner, tmp_path: Path, marker: str) -> None:
    begun = tmp_path / "begun"
    prepare = commanded("dep", f"touch {begun}; sh -c 'sleep 600; : {marker}'")
    running = asyncio.create_task(runner.run(prepare, USE))
    await asyncio.to_thread(wait_for, begun.exists)
    (run_dir,) = runner.state.runs.iterdir()
    (run_dir / "cancel").touch()
    run = await asyncio.wait_for(running, 60)
    assert run.record.status is Status.CANCELLED
    assert run.record.prepare_timings[0].outcome == "cancelled"
    assert processes(marker) == []


async def test_an_output_may_have_any_name(runner: Runner) -> None:
    names = ["a b", "$(touch evil)", "-n", "it's"]
    quoted = " ".join(shlex.quote(name) for name in names)
    prepare = commanded("dep", f"touch -- {quoted}", names)
    run = await runner.run(prepare, job("use", "ls -A $PIKACI_INPUT_DEP", needs=["dep"]))
    assert sorted(run.said("use")) == sorted(names)
