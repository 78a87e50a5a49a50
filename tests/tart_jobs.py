"""Plans whose jobs run in VMs of Tart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plans import job

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode

BASE = "sequoia"


def vm_job(
    name: str,
    command: str = "true",
    *,
    base: str = BASE,
    tart: dict[str, Any] | None = None,
    **execute: Any,  # noqa: ANN401 - as `job` has them
) -> ExecuteNode:
    """A job in a VM that is cloned from a base; `tart` are more of that runtime's knobs."""
    made = job(name, command, **execute)
    config = {"base": base, "mount_host_toolchain": False, "xcode_path": None, "shares": []}
    changes = {"runtime": "tart", "runtime_config": config | (tart or {})}
    return made.with_(**changes)
