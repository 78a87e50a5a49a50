"""The programs of a job: its packages, its development shell; and the variables that pass to it."""

from __future__ import annotations

import hashlib
import hmac
import shlex
from typing import TYPE_CHECKING

from jerichoci.world import NO_FACTS, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jerichoci.plan.plan import Execute

IN_SHELL = """. "$1" || exit 125; shift
while [ $# -gt 1 ]; do export "$1"; shift; done
eval "${shellHook:-}"; eval "$1"
"""
"""Run by the shell's bash with the script of its environment, the job's own variables as
NAME=VALUE, which go over those of the shell, and the job's command."""


class Tools:
    """`packages`, `devShell` and `passEnv`; `inputs` says where each prepare node's output is."""

    facts = NO_FACTS

    def __init__(
        self, execute: Execute, inputs: Mapping[str, Path], environment: Mapping[str, str]
    ) -> None:
        self._path = tuple(str(inputs[node] / "bin") for node in execute.path)
        self._env = {name: environment[name] for name in execute.pass_env if name in environment}
        self._own = [f"{name}={value}" for name, value in execute.env.items()]
        self._shell = execute.dev_shell
        self._script = str(inputs[self._shell.node_id]) if self._shell else ""

    async def enter(self) -> World:
        """Nothing has to be made: all of it are prepared outputs."""
        wraps = (self._in_shell,) if self._shell else ()
        return World(env=self._env, path=self._path, wraps=wraps)

    def _in_shell(self, command: str) -> str:
        bash = self._shell.bash if self._shell else "bash"
        words = [bash, "--noprofile", "--norc", "-c", IN_SHELL, "bash", self._script]
        return f"exec {shlex.join([*words, *self._own, command])}"

    async def passed(self) -> None:
        """Nothing to publish."""

    async def leave(self) -> None:
        """Nothing to remove."""


def fingerprints(
    pass_env: Sequence[str], environment: Mapping[str, str], key: str
) -> dict[str, str | None]:
    """For each name the HMAC-SHA256 (hex) of its value under `key`, or None for an absent one.

    It tells two values apart and can't be turned into one by trying words without the key.
    """
    return {
        name: hmac.new(
            key.encode(), environment[name].encode("utf-8", "surrogateescape"), hashlib.sha256
        ).hexdigest()
        if name in environment
        else None
        for name in pass_env
    }
