"""Plans whose nodes are on remote hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plans import job

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode
    from remote.far_host import FarHost


def away(
    name: str,
    command: str = "true",
    host: FarHost | None = None,
    labels: tuple[str, ...] = (),
    **execute: Any,  # noqa: ANN401 - fields of the model
) -> ExecuteNode:
    """A job on a host by its name, or on one that has labels."""
    where = {"host": host.name} if host else {"labels": list(labels)}
    node = job(name, command, **execute)
    return node.with_(placement="remote_ssh", placement_config=where)
