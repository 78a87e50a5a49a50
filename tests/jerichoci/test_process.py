from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import processes, wait_for
from jerichoci.errors import InfrastructureError
from jerichoci.process import child, run

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_finished_command_has_what_it_printed() -> None:
    done = await run(["sh", "-c", "cat; echo err >&2; exit 3"], deadline_secs=30, stdin=b"in")
    assert (done.exit_code, done.ok, done.stdout, done.stderr) == (3, False, b"in", b"err\n")
    assert done.last_line() == "err"


async def test_a_command_that_says_nothing_is_told_by_its_code() -> None:
    done = await run(["sh", "-c", "exit 3"], deadline_secs=30)
    assert done.last_line() == "sh -c exited 3"


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


async def test_a_child_ends_whose_output_nobody_reads() -> None:
    async with asyncio.timeout(5):
        async with child(["yes"], stdout=asyncio.subprocess.PIPE) as talking:
            assert talking.stdout is not None
            await talking.stdout.read(1)
            await asyncio.sleep(0.2)
    assert talking.returncode == -signal.SIGKILL
