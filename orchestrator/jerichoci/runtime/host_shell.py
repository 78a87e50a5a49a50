"""A shell in the workspace of a job that was a process of the host, where that was kept."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.machine.confinement import with_env
from jerichoci.machine.process import GROUP_RECORD
from jerichoci.machine.workspace import Workspace
from jerichoci.placement import Placement, operations
from jerichoci.runtime.host_process import job_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.runtime import Attempt

BASH = ("bash", "--noprofile", "--norc")


async def open_host_shell(
    placement: Placement,
    attempt: Attempt,
    execution: Mapping[str, Any],
    command: Sequence[str],
) -> int:
    """Open a shell in the workspace of an attempt, or run a command in it; its exit code."""
    workspace = Workspace(attempt.scratch)
    if await placement.do(operations.read, workspace.root / GROUP_RECORD, 1) is None:
        raise UsageError(
            f"run {attempt.run_id} did not keep the workspace of {attempt.node.job_id}",
            f"to keep it: `pikaci rerun {attempt.run_id} --keep always`",
        )
    root = placement.state_root
    outgoing = placement.outgoing(attempt.scratch, attempt.artifacts)
    env = job_environment(attempt, outgoing, placement.job_path)
    env["TERM"] = os.environ.get("TERM", "dumb")
    env.setdefault("PS1", f"{attempt.node.job_id}$ ")
    confinement = await placement.confinement()
    argv = confinement.shell_argv(
        attempt.snapshot.relative_to(root),
        Workspace(workspace.root.relative_to(root)),
        str(execution.get("workspace")),
        with_env(env) + _program(command),
    )
    return await placement.run_in_foreground(argv, cwd=root, env=placement.environment)


def _program(command: Sequence[str]) -> list[str]:
    """What runs in the workspace."""
    if command:
        # Not as the last thing that bash does: in its place it would be the namespace's first
        # process, which no signal ends.
        return [*BASH, "-c", f"{shlex.join(command)}; exit"]
    if not os.isatty(0):
        return [*BASH]
    return [*BASH, "-i"]
