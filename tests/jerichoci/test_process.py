from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import processes, wait_for
from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import Completed, child, run

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_finished_command_has_what_it_printed() -> None:
    done = await run(["sh", "-c", "cat; echo err >&2; exit 3"], deadline_secs=30, stdin=b"in")
    assert (done.exit_code, done.ok, done.stdout, done.stderr) == (3, False, b"in", b"err\n")
    assert done.reason() == "err"


async def test_a_command_that_says_nothing_is_told_by_its_code() -> None:
    done = await run(["sh", "-c", "exit 3"], deadline_secs=30)
    assert done.reason() == "`sh` exited with 3"


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "fatal: not a git repository (or any parent up to /)\nStopping",
            "not a",
        ),
        ("error: setting 'x' has no value\nTry 'nix --help' for more information.", "setting 'x'"),
        ("\x1b[31;1merror:\x1b[0m no such file\nat flake.nix:1", "no such file"),
        ("warning: old\nfatal: unknown repository extension found:\n\trefstorage", "unknown"),
        ("host: Permission denied\nfatal: Could not read from remote.\n\nPlease", "host: Per"),
        ("@nix {}\nhint: do this\nwhatever", "whatever"),
        ("Cloning into 'x'...\nremote: Not found\nfatal: repository 'y' not found", "remote: Not"),
    ],
)
async def test_of_what_a_tool_prints_the_line_that_says_why_is_the_reason(
    stderr: str, reason: str
) -> None:
    done = Completed(("git", "-c", "a=b", "rev-parse"), 128, b"", stderr.encode())
    assert done.reason().startswith(reason)
    assert "warning" not in done.reason()
    if "refstorage" in stderr:
        assert done.reason().endswith("extension found: refstorage")


@pytest.mark.parametrize("code", [-9, 137])
def test_a_command_that_was_killed_is_told_by_its_signal(code: int) -> None:
    done = Completed(("git", "-c", "a=b", "rev-parse"), code, b"", b"fatal: x")
    assert done.reason().startswith("`git rev-parse` was ended by signal 9 (KILL); was the machine")
    assert "memory" not in Completed(("git",), -15, b"", b"").reason()


async def test_lines_are_heard_as_they_come() -> None:
    heard: list[bytes] = []
    argv = ["sh", "-c", "echo out; echo one >&2; echo two >&2; printf rest >&2"]
    done = await run(argv, deadline_secs=30, listen=heard.append)
    assert heard == [b"one", b"two"]
    assert (done.stdout, done.stderr) == (b"out\n", b"one\ntwo\nrest")


async def test_a_program_that_is_not_there_is_said_so() -> None:
    with pytest.raises(InfrastructureError, match="no-such-program can't be started"):
        await run(["no-such-program"], deadline_secs=30)


async def test_a_command_over_its_time_is_ended_with_its_children(marker: str) -> None:
    argv = ["sh", "-c", f"sh -c 'sleep 600; : {marker}' & wait"]
    with pytest.raises(InfrastructureError, match=r"did not end within 0\.3 s"):
        await run(argv, deadline_secs=0.3)
    wait_for(lambda: not processes(marker))


async def test_what_is_left_of_a_child_is_killed_when_the_block_ends(marker: str) -> None:
    async with child(["sh", "-c", f"sleep 600; : {marker}"]):
        wait_for(lambda: processes(marker))
    assert processes(marker) == []


async def test_a_cancelled_task_leaves_no_process(marker: str, tmp_path: Path) -> None:
    argv = ["sh", "-c", f"touch {tmp_path}/begun; sleep 600; : {marker}"]
    running = asyncio.create_task(run(argv, deadline_secs=600))
    await asyncio.to_thread(wait_for, (tmp_path / "begun").exists)
    running.cancel()
    await asyncio.wait({running})
    assert processes(marker) == []


async def test_a_child_whose_end_is_not_waited_for_is_closed_all_the_same() -> None:
    begun: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with child(["sleep", "600"]) as process:
            begun.set_result(process)

    using = asyncio.create_task(use())
    process = await begun
    using.cancel()
    await asyncio.wait({using})
    assert process._transport.is_closing()  # type: ignore[attr-defined]  # as `child` closes it
    await process.wait()


async def test_a_child_ends_whose_output_is_not_read() -> None:
    async with asyncio.timeout(5):
        async with child(["yes"], stdout=asyncio.subprocess.PIPE) as talking:
            assert talking.stdout is not None
            await talking.stdout.read(1)
            await asyncio.sleep(0.2)
    assert talking.returncode == -signal.SIGKILL
