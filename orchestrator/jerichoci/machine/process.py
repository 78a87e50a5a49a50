"""Child processes: each is owned by a context manager, leads its own group and dies with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.state import atomic
from jerichoci.state.dataclass import dataclass
from jerichoci.state.owner import Owner, process_start
from jerichoci.state.trace import span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

LINE_LIMIT = 1024 * 1024
"""Bytes in one line of a tool's structured output; Nix puts whole error traces into one."""
REAP_DEADLINE_SECS = 10.0
"""How long a killed group may take to go: the kernel's time, not the program's."""
SHOWN_BYTES = 200
"""Of an output that is invalid, in a message."""
GROUP_RECORD = "group.json"
LONG_LIVED = frozenset({"nix", "nix-store", "nix-prefetch-git"})
"""Programs that may work for many minutes after the process that wants their result has died."""


@dataclass(frozen=True)
class Completed:
    """A finished command: what ran, how it ended, what it printed."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def was_killed(self) -> bool:
        return self.exit_code in _ENDED_BY

    def _program(self) -> str:
        words = (word for word in self.argv[1:] if _SUBCOMMAND.fullmatch(word))
        return f"`{' '.join([self.argv[0], *words][:2])}`"

    def values(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        with suppress(ValueError):
            values = json.loads(self.stdout)
            if isinstance(values, dict):
                return values
        printed = self.stdout[:SHOWN_BYTES].decode("utf-8", "replace")
        raise InfrastructureError(
            f"{self._program()} printed no JSON object: {printed!r}",
            f"is {self.argv[0]} a script that prints something itself?",
        )

    def reason(self) -> str:
        """Why it failed, for a message: the signal that ended it, or the line that says it."""
        program = self._program()
        if self.was_killed:
            return f"{program} was ended by {_ENDED_BY[self.exit_code]}"
        text = self.stderr.decode("utf-8", "replace")
        lines = [line.strip() for line in _COLOUR.sub("", text).splitlines()]
        lines = [line for line in lines if line and not line.startswith("@nix ")]
        for number, line in enumerate(lines):
            if told := _TELLING.match(line):
                after = lines[number + 1 : number + 2] if line.endswith(":") else []
                before = [each for each in lines[:number] if not _BESIDE.match(each)][-1:]
                return " ".join([*(f"{each};" for each in before), told["why"], *after])
        return lines[-1] if lines else f"{program} exited with {self.exit_code}"


_SUBCOMMAND = re.compile(r"[a-z]+(?:-[a-z]+)*")
_TELLING = re.compile(r"(?:fatal|error): *(?P<why>.+)")
"""The line in which git and Nix say what is wrong; advice may follow, and what ssh said precede."""
_BESIDE = re.compile(r"(?:warning|hint|trace|error):|.*\.\.\.$", re.IGNORECASE)
_HOLDING = frozenset({"setpriv", "TERM", "KILL", "nsenter", "unshare", "env"})
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ENDED_BY = {
    code: f"signal {number.value} ({number.name.removeprefix('SIG')})"
    + ("; was the machine out of memory?" if number == signal.SIGKILL else "")
    for number in signal.Signals
    for code in (-number, 128 + number)
    # A shell turns a signal into 128+n; of these, git and Nix use some themselves.
    if code < 0 or number in {signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}
}


@cache
def find_setpriv() -> str | None:
    """The program by which another dies with its parent (Linux)."""
    return shutil.which("setpriv")


def dying(setpriv: str | None, argv: Sequence[str], signal_name: str) -> list[str]:
    """Have the kernel send `signal_name` to the command when its parent there dies."""
    return [*([setpriv, "--pdeathsig", signal_name, "--"] if setpriv else []), *argv]


def _owned(argv: Sequence[str], env: Mapping[str, str] | None) -> Sequence[str]:
    """The command, ended by our own death if it is a long one; a missing one stays missing."""
    path = (os.environ if env is None else env).get("PATH")
    is_long = argv[0] in LONG_LIVED and shutil.which(argv[0], path=path)
    return dying(find_setpriv(), argv, "TERM") if is_long else argv


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
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command as the leader of its own group; whatever is left of it at the end is killed."""
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
            pass_fds=pass_fds,
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
        with span(_named(argv), "process", argv=argv, pid=process.pid):
            yield process
    finally:
        await _end(process)


def _named(argv: Sequence[str]) -> str:
    """A command line for people: the program behind those that only hold it, and its first word."""
    words = [word for word in argv if not word.startswith("-")]
    while len(words) > 1 and words[0].rpartition("/")[2] in _HOLDING:
        words.pop(0)
    return " ".join(word.rpartition("/")[2][:30] for word in words[:2])


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        if process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)
            pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
            async with asyncio.timeout(REAP_DEADLINE_SECS):
                # asyncio waits for the end of pipes, too, and stops reading a full buffer.
                await asyncio.gather(process.wait(), *map(_drain, pipes))
    finally:
        # asyncio does so when it has heard of the end of every pipe, perhaps after the loop's end.
        if transport := getattr(process, "_transport", None):
            transport.close()


async def _drain(pipe: asyncio.StreamReader) -> None:
    with suppress(RuntimeError):  # another task reads it
        while await pipe.read(LINE_LIMIT):
            pass


async def run(  # noqa: PLR0913 - the parameters of a process
    argv: Sequence[str],
    *,
    deadline_secs: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    listen: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run a command to its end and keep what it printed; `listen` gets lines of stderr at once."""
    source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
    async with child(_owned(argv, env), cwd=cwd, env=env, stdin=source) as process:
        try:
            async with asyncio.timeout(deadline_secs):
                if listen and process.stdout and process.stderr:
                    stdout, stderr = await asyncio.gather(
                        process.stdout.read(), _heard(process.stderr, listen)
                    )
                    await process.wait()
                else:
                    stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            raise InfrastructureError(
                f"`{shlex.join(argv[:3])}` did not end within {deadline_secs:g} s"
            ) from None
    return Completed(tuple(argv), process.returncode or 0, stdout, stderr)


async def _heard(pipe: asyncio.StreamReader, listen: Callable[[bytes], None]) -> bytes:
    whole, rest = [], b""
    while data := await pipe.read(LINE_LIMIT):
        whole.append(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            listen(line)
    return b"".join(whole)


def check_version(program: str, text: str, minimum: tuple[int, int]) -> None:
    """Refuse a program whose version is too old."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) < minimum:
        wanted = ".".join(map(str, minimum))
        raise UsageError(f"{program} {text} is too old", f"pikaci needs {wanted} or later")


def record_group(directory: Path, pid: int) -> None:
    """Note the leader of a job's group, for a clean-up after the orchestrator has died."""
    note = {"pid": pid, "started": process_start(pid)}
    atomic.write_bytes(directory / GROUP_RECORD, json.dumps(note).encode(), durable=False)


def end_recorded_groups(scratch: Path) -> None:
    """Kill the groups noted below `scratch` whose leader is still the process that was noted."""
    for path in scratch.glob(f"*/{GROUP_RECORD}"):
        leader = Owner.read(path)
        if leader and leader.is_alive():
            signal_group(leader.pid, signal.SIGKILL)
