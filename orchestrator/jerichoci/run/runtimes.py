"""The runtimes that a plan may name. This is the one file that knows all three.

What a runtime needs is imported only where a job has that runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping, Sequence

    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode, Plan
    from jerichoci.runtime import Attempt, Runtime

RUNTIMES = ("host_process", "incus", "tart")


def check_runtime(node: ExecuteNode) -> None:
    """Refuse a job whose runtime this version does not have."""
    if node.runtime not in RUNTIMES:
        raise UsageError(
            f"job {node.job_id}: unknown runtime {node.runtime!r}; this pikaci has"
            f" {', '.join(RUNTIMES)}",
            "change the job's `runtime`",
        )


def is_guest(node: ExecuteNode) -> bool:
    """Whether the job runs in a system of its own, where the host's paths are not to be seen."""
    return node.runtime != "host_process"


def open_runtime(placement: Placement, attempt: Attempt) -> Runtime:
    """The runtime of an attempt."""
    match attempt.node.runtime:
        case "incus":
            from jerichoci.runtime.incus.guest import IncusGuest

            return IncusGuest(placement, attempt)
        case "tart":
            from jerichoci.runtime.tart.guest import TartGuest

            return TartGuest(placement, attempt)
        case _:
            from jerichoci.runtime.host_process import HostProcess

            return HostProcess(placement, attempt)


async def open_shell(
    placement: Placement, attempt: Attempt, execution: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Open a shell where an attempt was kept, or run a command there; its exit code.

    `execution` is what the attempt's record says of it.
    """
    match attempt.node.runtime:
        case "incus":
            from jerichoci.runtime.incus.shell import open_guest_shell

            return await open_guest_shell(placement, attempt, execution, command)
        case "tart":
            from jerichoci.runtime.tart.shell import open_vm_shell

            return await open_vm_shell(placement, attempt, execution, command)
        case _:
            from jerichoci.runtime.host_shell import open_host_shell

            return await open_host_shell(placement, attempt, execution, command)


async def check_host(
    placement: Placement, plan: Plan, nodes: Sequence[ExecuteNode]
) -> dict[str, object]:
    """Refuse a host that can't run these jobs of a plan, before anything starts.

    Returns what each runtime found there, which saves its jobs from looking for it again.
    """
    vms, guests = _of("tart", nodes), _of("incus", nodes)
    if vms:
        from jerichoci.runtime.tart.check import check_mac, check_vms

        await check_mac(placement, vms)
    placement.check(plan.system)
    if vms:
        await check_vms(placement, vms)
    if not guests:
        return {}
    from jerichoci.runtime.incus.check import check_guests

    return {"incus": await check_guests(placement, plan, guests)}


def getting_ready(
    placement: Placement, nodes: Sequence[ExecuteNode]
) -> Iterator[Awaitable[object]]:
    """What jobs will wait for of their runtimes, to be begun while prepares still run."""
    if _of("host_process", nodes):
        from jerichoci.placement import operations

        yield placement.confinement()
        yield placement.do(operations.open_starter)


def images_here(nodes: Sequence[ExecuteNode]) -> dict[str, str]:
    """The fingerprints of the images of this machine by alias, if all guests of jobs are of it."""
    if not nodes or any((node.runtime, node.placement) != ("incus", "local") for node in nodes):
        return {}
    from jerichoci.runtime.incus.images_here import fingerprints

    return fingerprints()


def macos_vms(node: ExecuteNode) -> int:
    """How many of the macOS VMs that its host may run a job takes."""
    return 1 if node.runtime == "tart" else 0


def _of(runtime: str, nodes: Sequence[ExecuteNode]) -> list[ExecuteNode]:
    return [node for node in nodes if node.runtime == runtime]
