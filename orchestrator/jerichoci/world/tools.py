"""The programs of a job's packages, and the variables that pass to it from pikaci's environment."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from jerichoci.world import NO_FACTS, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Tools:
    """`packages` and `passEnv` of a job; `inputs` says where each prepare node's output is."""

    facts = NO_FACTS

    def __init__(
        self,
        path: Sequence[str],
        pass_env: Sequence[str],
        inputs: Mapping[str, Path],
        environment: Mapping[str, str],
    ) -> None:
        self._path = tuple(str(inputs[node] / "bin") for node in path)
        self._env = {name: environment[name] for name in pass_env if name in environment}

    async def enter(self) -> World:
        """Nothing has to be made: the packages are prepared outputs."""
        return World(env=self._env, path=self._path)

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
