"""A job's environment: what the plan names, and the few things a host process can't do without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jerichoci.plan import Execute

PASSED_NAMES = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TMPDIR", "TART_HOME"})
PASSED_FAMILIES = ("LC_", "NIX_")


def host_environment(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """What passes from the orchestrator's environment to a host process."""
    values = os.environ if source is None else source
    return {
        name: value
        for name, value in values.items()
        if name in PASSED_NAMES or name.startswith(PASSED_FAMILIES)
    }


def job_environment(
    execute: Execute, inputs: Mapping[str, Path], artifacts: Path, host: Mapping[str, str]
) -> dict[str, str]:
    """A host process's whole environment; `inputs` says where each prepare node's output is.

    `host` is what passes from the host's own.
    """
    named = {ref.env: str(inputs[ref.node_id]) for ref in execute.inputs if ref.env}
    return dict(host) | execute.env | named | {"PIKACI_ARTIFACTS": str(artifacts)}
