"""Tart's command lines, and what they answer.

Source: the program's own help and its exit codes: 2 where a VM doesn't exist or isn't running, else
1; `tart exec` has those of the command in the guest beside its own.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from jerichoci.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jerichoci.machine.process import Completed
    from jerichoci.plan.plan import Resources

    Run = Callable[[Sequence[str], float], Awaitable[Completed]]
    """Runs a command on a host, within so many seconds."""

T = TypeVar("T")
NOT_THERE = 2
"""The exit code of `delete` where there is no such VM, and of `stop` where it isn't running."""
MACOS = "darwin"
SAID_LINES = 3
LOOK_SECS = 60.0
"""For a program of the host to answer, on a Mac that is busy."""
STOP_SECS = 10
"""From asking a VM's process to end to killing it; it switches the VM off at once."""
DELETE_SECS = 120.0
LIST_TRIES = 5
"""A list is asked for this often if a VM is deleted meanwhile."""
HELD_SECS, HELD_POLL_SECS = 10.0, 0.2
"""For a VM's process that was killed to be gone: `stop` doesn't wait for that."""


class TartError(InfrastructureError):
    """Tart refused, or its output is invalid."""


class Vm(BaseModel):
    """A VM of the user's own that tart lists."""

    name: str = Field(validation_alias="Name")
    is_running: bool = Field(validation_alias="Running")
    state: str = Field("", validation_alias="State")


class _Described(BaseModel):
    system: str = Field(validation_alias="OS")


def list_argv() -> list[str]:
    """Lists the user's own VMs."""
    return ["tart", "list", "--source", "local", "--format", "json"]


def get_argv(name: str) -> list[str]:
    """Describes a VM, for `parse_os`."""
    return ["tart", "get", name, "--format", "json"]


def clone_argv(base: str, name: str) -> list[str]:
    """Clones a VM, which is pulled first if it is a registry's and not here."""
    return ["tart", "clone", base, name]


def set_argv(name: str, resources: Resources) -> list[str] | None:
    """Gives a VM the CPUs and the memory (MiB) that a job asks for; None if it asks for neither."""
    wanted = {"--cpu": resources.cpus, "--memory": resources.memory_mib}
    words = [word for flag, value in wanted.items() if value for word in (flag, str(value))]
    return ["tart", "set", name, *words] if words else None


def run_argv(name: str, shares: Sequence[str]) -> list[str]:
    """Runs a VM for as long as the process lives; `shares` are values of `--dir`."""
    quiet = ["--no-graphics", "--no-audio", "--no-clipboard"]
    return ["tart", "run", name, *quiet, *(f"--dir={share}" for share in shares)]


def exec_argv(name: str, command: Sequence[str], *flags: str) -> list[str]:
    """Runs a command in a VM; `-i` hands on standard input, `-t` gives it a terminal."""
    return ["tart", "exec", *flags, name, *command]


def stop_argv(name: str, secs: int) -> list[str]:
    """Stops a VM, by force if it still runs after `secs`."""
    return ["tart", "stop", name, "--timeout", str(secs)]


def delete_argv(name: str) -> list[str]:
    """Deletes a VM that doesn't run."""
    return ["tart", "delete", name]


def checked(done: Completed, *fine: int) -> Completed:
    """What ended with 0, or with an exit code that is `fine`, too."""
    if done.exit_code in {0, *fine}:
        return done
    command = shlex.join(done.argv[:4])
    raise TartError(f"`{command}` failed (exit code {done.exit_code}): {last_stderr_lines(done)}")


async def list_vms(run: Run) -> list[Vm]:
    """The user's own VMs; asked for again if Tart failed over a VM that was deleted meanwhile."""
    for _ in range(LIST_TRIES):
        done = await run(list_argv(), LOOK_SECS)
        if done.exit_code != 1 or b"no such file" not in done.stderr.lower():
            break
    return _parse(done, list[Vm])


async def stop_vm(run: Run, name: str) -> None:
    """Stop a VM; one that does not run, or is gone, is no error."""
    checked(await run(stop_argv(name, STOP_SECS), STOP_SECS + LOOK_SECS), NOT_THERE)


async def delete_vm(run: Run, name: str) -> None:
    """Delete a stopped VM when the process that ran it is gone; one that is gone is no error."""
    end = time.monotonic() + HELD_SECS
    while True:
        done = await run(delete_argv(name), DELETE_SECS)
        is_held = done.exit_code == 1 and b"is running" in done.stderr
        if not is_held or time.monotonic() > end:
            break
        await asyncio.sleep(HELD_POLL_SECS)
    checked(done, NOT_THERE)


def last_stderr_lines(done: Completed) -> str:
    """The last lines that a command printed on stderr."""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return " ".join(line.strip() for line in lines[-SAID_LINES:]) or "it gave no reason"


def parse_os(done: Completed) -> str:
    """The operating system in the output of `get_argv`: `darwin` or `linux`."""
    return _parse(done, _Described).system


def _parse(done: Completed, shape: type[T]) -> T:
    try:
        return TypeAdapter(shape).validate_json(checked(done).stdout)
    except ValidationError as error:
        raise TartError(
            f"the output of `{shlex.join(done.argv[:3])}` is invalid",
            "pikaci needs a tart that has `exec`, of 2025 or later",
        ) from error
