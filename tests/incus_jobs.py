"""Plans whose jobs run in guests of Incus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from incus_fake import ALIASES, CONTAINER, MACHINE
from jerichoci.plan.plan import ExecuteNode, Image, PrepareNode
from plans import job

if TYPE_CHECKING:
    from pathlib import Path

    from runner import Ended, Runner

IMAGES = [
    Image(role="dev", alias=ALIASES[CONTAINER], instance_type=CONTAINER),
    Image(role="vm", alias=ALIASES[MACHINE], instance_type=MACHINE),
]


def guest_job(
    name: str,
    command: str = "true",
    *,
    role: str = "dev",
    network: str | None = None,
    **execute: Any,  # noqa: ANN401 - as `job` has them
) -> ExecuteNode:
    """A job in a guest, made from the image of a role."""
    config = {"role": role} | ({} if network is None else {"network": network})
    made = job(name, command, **execute)
    return made.with_(runtime="incus", runtime_config=config)


async def run_guests(
    runner: Runner,
    *nodes: PrepareNode | ExecuteNode,
    images: list[Image] = IMAGES,
    **request: Any,  # noqa: ANN401 - fields of the request
) -> Ended:
    """Run a plan of these nodes to its end."""
    return await runner.run(*nodes, images=images, **request)


def write_hosts(config: Path, **site: str) -> None:
    """Write the hosts file below a configuration directory."""
    file = config / "pikaci" / "hosts.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'{name} = "{value}"' for name, value in site.items()]
    file.write_text("\n".join(["[local.incus]", *rows, ""]))
