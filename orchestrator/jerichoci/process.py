"""Child processes: each is owned by a context manager, leads its own group and dies with it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.owner import Owner, process_start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

LINE_LIMIT = 1024 * 1024
"""Bytes in one line of a tool's structured output; Nix puts whole error traces into one."""
REAP_DEADLINE_SECS = 10.0
"""How long a killed group may take to go: the kernel's time, not the program's."""
GROUP_RECORD = "group.json"
LONG_LIVED = frozenset({"nix", "nix-store", "nix-prefetch-git"})
"""Programs that may work for many minutes more when nobody is left to want what they make."""


@dataclass(frozen=True)
class Completed:
    """A finished command: what ran, how it ended, what it printed."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0

    def last_line(self) -> str:
        """The last line on stderr that says something, for a message."""
        lines = [line for line in self.stderr.decode("utf-8", "replace").splitlines() if line]
        return (
            lines[-1].strip() if lines else f"{shlex.join(self.argv[:2])} exited {self.exit_code}"
        )


@cache
def _dies_with_parent(signal_name: str) -> tuple[str, ...]:
    found = shutil.which("setpriv")
    return (found, "--pdeathsig", signal_name, "--") if found else ()


def dying_with_parent(argv: Sequence[str], signal_name: str) -> list[str]:
    """Have the kernel send `signal_name` to the command when this process dies (Linux)."""
    return [*_dies_with_parent(signal_name), *argv]


def _owned(argv: Sequence[str], env: Mapping[str, str] | None) -> Sequence[str]:
    """The command, ended by our own death if it is a long one; a missing one stays missing."""
    path = (os.environ if env is None else env).get("PATH")
    is_long = argv[0] in LONG_LIVED and shutil.which(argv[0], path=path)
    return dying_with_parent(argv, "TERM") if is_long else argv


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a process group; one that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


@asynccontextmanager
async def child(  # noqa: PLR0913 - the parameters of a process
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = asyncio.subprocess.PIPE,
    stderr: int | IO[bytes] | None = asyncio.subprocess.PIPE,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command as the leader of its own group; whatever is left of it at the end is killed.

    Raises:
        InfrastructureError: the program isn't there or can't be started.
    """
    creating = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            limit=LINE_LIMIT,
        )
    )
    try:
        process = await asyncio.shield(creating)
    except asyncio.CancelledError:
        # Cancelled half-way, asyncio would kill the leader only and wait for its children's pipes.
        with suppress(OSError):
            await _end(await creating)
        raise
    except OSError as error:
        raise InfrastructureError(
            f"{argv[0]} can't be started: {error.strerror}", "is it installed and on PATH?"
        ) from error
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        signal_group(process.pid, signal.SIGKILL)
        pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
        async with asyncio.timeout(REAP_DEADLINE_SECS):
            # asyncio waits for the end of pipes, too, and stops reading where nobody takes it.
            await asyncio.gather(process.wait(), *map(_drain, pipes))


async def _drain(pipe: asyncio.StreamReader) -> None:
    with suppress(RuntimeError):  # somebody else is at it
        while await pipe.read(LINE_LIMIT):
            pass


async def run(
    argv: Sequence[str],
    *,
    deadline_secs: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> Completed:
    """Run a command to its end and keep what it printed.

    Raises:
        InfrastructureError: it can't be started, or isn't done after `deadline_secs`.
    """
    source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
    async with child(_owned(argv, env), cwd=cwd, env=env, stdin=source) as process:
        try:
            async with asyncio.timeout(deadline_secs):
                stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            raise InfrastructureError(
                f"`{shlex.join(argv[:3])}` did not end within {deadline_secs:g} s"
            ) from None
    return Completed(tuple(argv), process.returncode or 0, stdout, stderr)


def record_group(directory: Path, pid: int) -> None:
    """Note the leader of a job's group, for whoever finds the job without its orchestrator."""
    note = {"pid": pid, "started": process_start(pid)}
    (directory / GROUP_RECORD).write_text(json.dumps(note))


def end_recorded_groups(scratch: Path) -> None:
    """Kill the groups noted below `scratch` whose leader is still the process that was noted."""
    for path in scratch.glob(f"*/{GROUP_RECORD}"):
        leader = Owner.read(path)
        if leader and leader.is_alive():
            signal_group(leader.pid, signal.SIGKILL)
