"""A shell in the VM of a job, which was kept switched off and is booted for it."""

from __future__ import annotations

import json
import logging
import os
import shlex
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.terminal import on_terminal
from jerichoci.placement import Placement, operations
from jerichoci.runtime.guest_runner import COMMAND, ENV, READ_STDIN
from jerichoci.runtime.kept_guest import gone, kept_note
from jerichoci.runtime.tart.guest import JOB_FILE, OPTIONS_FILE
from jerichoci.runtime.tart.name import SHELL_LOCK
from jerichoci.runtime.tart.vm import TartVm
from jerichoci.state.ledger import tart_guests
from jerichoci.state.lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.runtime import Attempt

LOGGER = logging.getLogger("jerichoci")
SHELL_FILE = "shell.json"
SHELL_LOG = "shell.log"
"""Beside host.log: tart's output while the VM runs for a shell."""
FILE_BYTES = 64 * 1024 * 1024
ROOM_SECS = 0.0
"""A person is not made to wait for other VMs to end."""


async def open_vm_shell(
    placement: Placement, attempt: Attempt, execution: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Boot an attempt's VM, run a shell or a command in it, and switch it off; the exit code."""
    vm_name = execution.get("vm")
    name = kept_note(tart_guests(attempt.state), vm_name, attempt, execution, kind="VM").name
    options = await placement.do(operations.read, attempt.scratch / OPTIONS_FILE, FILE_BYTES)
    control = attempt.scratch / "control"
    job = await placement.do(operations.read, control / JOB_FILE, FILE_BYTES)
    if options is None or job is None:
        raise gone(attempt, f"the VM of job {attempt.node.job_id} is gone")
    with try_lock(attempt.directory / SHELL_LOCK) as is_ours:
        if not is_ours:
            raise UsageError(
                f"the VM of job {attempt.node.job_id} has a shell already",
                "leave that one first: it switches the VM off when it ends",
            )
        is_terminal = on_terminal()
        variables = _shell(json.loads(job), attempt, command, terminal=is_terminal)
        data = json.dumps(variables).encode()
        await placement.do(operations.write, control / SHELL_FILE, data)
        vm = TartVm(placement, name, attempt.directory / SHELL_LOG, attempt.scratch)
        if not await vm.is_there():
            raise gone(attempt, f"the VM of job {attempt.node.job_id} is gone")
        return await _attend(placement, vm, json.loads(options), terminal=is_terminal)


async def _attend(
    placement: Placement, vm: TartVm, options: Sequence[str], *, terminal: bool
) -> int:
    # A shell that was killed has left it running.
    await vm.halt()
    try:
        await vm.boot(options, ROOM_SECS)
        await vm.begin(JOB_FILE, "--check-contract")
        flags = ("-i", "-t") if terminal else ("-i",)
        return await placement.run_in_foreground(
            vm.bootstrap(SHELL_FILE, "--shell", flags=flags),
            cwd=placement.state_root,
            env=dict(placement.environment) | {"TERM": os.environ.get("TERM", "dumb")},
        )
    finally:
        try:
            await vm.halt()
        except InfrastructureError as error:
            # The command's end is the answer; the VM's process is killed by now.
            LOGGER.warning("the VM was not stopped cleanly: %s", error)
        finally:
            await vm.close()


def _shell(
    variables: dict[str, str], attempt: Attempt, command: Sequence[str], *, terminal: bool
) -> dict[str, str]:
    """The runner's variables of the job, changed for a shell or one command."""
    del variables[COMMAND]
    if command:
        variables[COMMAND] = shlex.join(command)
    elif not terminal:
        variables[COMMAND] = READ_STDIN
    else:
        prompt = {"PS1": f"{attempt.node.job_id}$ "}
        variables[ENV] = json.dumps(prompt | json.loads(variables[ENV]))
    return variables | {"TERM": os.environ.get("TERM", "dumb")}
