"""Plans made by hand: a node a call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jerichoci.machine.system import own_system
from jerichoci.nix.command import NixOptions
from jerichoci.placement import LocalSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.artifacts import JobInput
from jerichoci.plan.payload import PayloadManifest, read_payload_on
from jerichoci.plan.plan import (
    Execute,
    ExecuteNode,
    HostCommand,
    InputRef,
    NixBuild,
    Plan,
    PrepareNode,
    Resources,
    Retries,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RUN_ID = "20260131T235959Z-0123abcd"


def job(
    name: str,
    command: str = "true",
    *,
    needs: Sequence[str] = (),
    after: Sequence[str] = (),
    retries: Retries | None = None,
    resources: Resources | None = None,
    timeout_secs: int = 60,
    **execute: Any,  # noqa: ANN401 - fields of the model
) -> ExecuteNode:
    """A job that needs prepare nodes (`needs`) and other jobs (`after`)."""
    inputs = [InputRef(node_id=node, env=f"PIKACI_INPUT_{_upper(node)}") for node in needs]
    return ExecuteNode(
        id=f"execute-{name}",
        job_id=name,
        depends_on=[*needs, *(f"execute-{other}" for other in after)],
        execute=Execute(
            command=command,
            timeout_secs=timeout_secs,
            inputs=inputs,
            retries=retries or Retries(),
            resources=resources or Resources(),
            **execute,
        ),
    )


def files_of(*names: str) -> dict[str, Any]:
    """What a job has, beside its command, that needs the files of others."""
    inputs = [
        JobInput(job_id=name, env=f"PIKACI_INPUT_{_upper(name)}", guest_path=f"/staged/{name}")
        for name in names
    ]
    return {"after": names, "job_inputs": inputs}


def built(name: str, build: NixBuild) -> PrepareNode:
    """A prepare node that Nix builds."""
    return PrepareNode(id=name, prepare=build)


def commanded(
    name: str,
    command: str,
    outputs: Sequence[str] = ("out",),
    *,
    needs: Sequence[str] = (),
    timeout_secs: int = 60,
) -> PrepareNode:
    """A prepare node that a command on the host makes."""
    spec = HostCommand(command=command, outputs=list(outputs), timeout_secs=timeout_secs)
    return PrepareNode(id=name, depends_on=list(needs), prepare=spec)


def plan(*nodes: PrepareNode | ExecuteNode, target: str = "target") -> Plan:
    """A target's plan."""
    return Plan(target_id=target, system=own_system(), nodes=list(nodes))


def read_payload(output: Path) -> PayloadManifest | None:
    """The manifest of a prepared output, checked as a run does."""
    here = LocalPlacement(output, NixOptions(), LocalSettings)
    return asyncio.run(read_payload_on(here, output))


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
