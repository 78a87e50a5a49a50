"""A job in the words of `pikaci-incus-run`, the runner in its guest."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from jerichoci.runtime.guest_mounts import ARTIFACTS, STORE, GuestMounts, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jerichoci.plan.plan import Execute

RUNNER = "/run/current-system/sw/bin/pikaci-incus-run"
CONTRACT = "1"
VARIABLE_LIMIT = 100 * 1024
"""What is longer goes to the runner in a file: the kernel takes 128 KiB in one variable."""
COMMAND, ENV = "PIKACI_INCUS_GUEST_COMMAND", "PIKACI_INCUS_ENV"
FILES = {COMMAND: ".command", ENV: ".env.json"}
SECRETS_FILE = "/dev/pikaci-secrets"
"""In a container a file system in memory that LXC makes, in a VM the kernel's own."""
SECRETS = "/run/pikaci-secrets"
"""Where the runner puts the job's secrets, one a file."""
REDACTOR_FILE = ".redact.py"
WAITS = "pikaci.wait"
"""A property of an image in which the runner waits for a job from the start on."""
WAITS_FOR = "environment.PIKACI_INCUS_WAIT"
"""In the configuration of a guest of such an image: the file that it waits for."""
JOB_FILE = ".job.json"
READ_STDIN = 'exec "$BASH" --noprofile --norc'


def job_variables(
    execute: Execute, mounts: GuestMounts, grace_secs: float
) -> tuple[dict[str, str], dict[str, bytes]]:
    """The runner's variables for a job, and the files that it must find in /artifacts."""
    variables = whole_variables(execute, execute.env | mounts.env, grace_secs)
    variables["PIKACI_INCUS_MOUNTS"] = mounts.paths
    if mounts.caches:
        variables["PIKACI_INCUS_CACHES"] = json.dumps(mounts.caches)
    if "store" in mounts.mounts:
        variables["PIKACI_INCUS_STORE"] = STORE
    files = {}
    for name in (COMMAND, ENV):
        if _is_long(variables[name]):
            files[FILES[name]] = variables.pop(name).encode("utf-8", "surrogateescape")
            variables |= _in_file(name)
    return variables, files


def whole_variables(execute: Execute, env: Mapping[str, str], grace_secs: float) -> dict[str, str]:
    """The variables of any runner for a job with the environment `env`, however long."""
    return {
        **_who(execute),
        COMMAND: execute.command,
        ENV: json.dumps(dict(env)),
        "PIKACI_INCUS_TIMEOUT_SECS": str(execute.timeout_secs),
        "PIKACI_INCUS_WRITABLE_WORKSPACE": str(int(execute.writable_workspace)),
        "PIKACI_INCUS_GRACE_SECS": str(grace_secs),
    }


def home_of(execute: Execute) -> str:
    """The home of a job's user in a guest."""
    return "/root" if execute.run_as_root else "/home/pikaci"


def first_on_path(directories: Sequence[str]) -> dict[str, str]:
    """The runner's variable for what comes first in the job's PATH."""
    return {"PIKACI_INCUS_PATH": ":".join(directories)} if directories else {}


def stop_command() -> tuple[list[str], dict[str, str]]:
    """The exec that has the runner end its job."""
    return [RUNNER, "--stop"], {"PIKACI_INCUS_CONTRACT": CONTRACT}


def hand_over_command(uid: int, gid: int) -> tuple[list[str], dict[str, str]]:
    """What has a guest give all it left to a user of the host, and its environment."""
    return [RUNNER, "--hand-over", f"{uid}:{gid}"], {"PIKACI_INCUS_CONTRACT": CONTRACT}


def shell_variables(
    execute: Execute,
    inputs: Mapping[str, Path],
    command: Sequence[str],
    *,
    terminal: bool,
    prompt: str,
) -> dict[str, str]:
    """The runner's variables for a shell, or one command, in the guest that a job had."""
    named = {ref.env: place(ref, inputs[ref.node_id]) for ref in execute.inputs if ref.env}
    # A long one was written before the job began. It isn't again: /artifacts are a stranger's now.
    env = json.dumps(execute.env | named)
    variables = _who(execute) | (_in_file(ENV) if _is_long(env) else {ENV: env})
    if command:
        variables[COMMAND] = shlex.join(command)
    elif not terminal:
        variables[COMMAND] = READ_STDIN
    elif ENV in variables:
        variables[ENV] = json.dumps({"PS1": prompt, **execute.env, **named})
    return variables


def _who(execute: Execute) -> dict[str, str]:
    return {
        "PIKACI_INCUS_CONTRACT": CONTRACT,
        "PIKACI_INCUS_RUN_AS_ROOT": str(int(execute.run_as_root)),
    }


def _is_long(text: str) -> bool:
    return len(text.encode("utf-8", "surrogateescape")) >= VARIABLE_LIMIT


def _in_file(name: str) -> dict[str, str]:
    return {f"{name}_FILE": f"{ARTIFACTS}/{FILES[name]}"}
