"""How a job is isolated where it runs: one Protocol, an implementation a file.

A runtime lives for one attempt. The engine calls its steps in order, times them as phases, and
calls `release` whatever happened before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.stop import Stop
    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode, Image, Plan
    from jerichoci.runtime.incus.survey import GuestSurvey
    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True)
class Attempt:
    """What a runtime is told of the attempt it serves."""

    state: StateLayout
    run_id: str
    node: ExecuteNode
    images: Mapping[str, Image]
    """The plan's images, by role."""
    number: int
    inputs: Mapping[str, Path]
    """Where each prepared output is on the placement's host, by node id."""
    survey: GuestSurvey | None
    """What was found before the run began, where a runtime looks for something."""
    may_be_kept: bool
    """Whether what the job ran in may be wanted when it is over."""
    snapshot: Path
    scratch: Path
    directory: Path
    """Where host.log, guest.log and artifacts/ of this attempt belong."""
    note: Callable[[str], None] = print
    """Takes what is to be said of the attempt, whatever becomes of the job."""

    @property
    def host_log(self) -> Path:
        """What the host did."""
        return self.directory / "host.log"

    @property
    def artifacts(self) -> Path:
        """What `$PIKACI_ARTIFACTS` is collected into."""
        return self.directory / "artifacts" / "files"


@dataclass(frozen=True)
class Finish:
    """How a job's command ended: its exit code, or that its time was up, or that it was stopped."""

    exit_code: int | None
    timed_out: bool = False
    stopped: bool = False
    signal: int | None = None
    """The signal that ended it, if it is known to have been one."""
    memory_limited: bool = True
    """False if the kernel limits what it uses by no control group."""
    out_of_memory: bool = False
    """Whether the kernel killed something of the job for want of memory."""


class Runtime(Protocol):
    """An attempt's isolation."""

    @property
    def execution(self) -> dict[str, Any]:
        """What this runtime has to say in the job's record."""

    async def prepare(self) -> None:
        """Make what the job runs in."""

    async def launch(self) -> None:
        """Start the job."""

    async def wait(self, stop: Stop) -> Finish:
        """Wait for its end, its timeout, or `stop`; nothing of it runs afterwards."""

    async def collect(self, is_over: Callable[[], bool]) -> list[Artifact]:
        """Take what it left, in time.

        Raises:
            OSError: it can't be read or written; with ECANCELED, its time is over.
        """

    async def release(self, *, keep: bool) -> None:
        """Remove what was made, or keep it for a look; what takes long may be left to others."""

    async def settle(self) -> None:
        """Wait until all that was left to others to remove is gone."""


def open_runtime(name: str, placement: Placement, attempt: Attempt) -> Runtime:
    """The runtime that a plan names.

    Raises:
        UsageError: this version has none of that name.
    """
    check_runtime(name, attempt.node.job_id)
    match name:
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

    Raises:
        UsageError: nothing of it was kept.
        InfrastructureError: it can't be reached.
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


async def check_jobs(
    placement: Placement, plan: Plan, nodes: Sequence[ExecuteNode]
) -> GuestSurvey | None:
    """Refuse what a host has not got for these jobs of a plan, before anything starts.

    Returns what was found there, which saves the jobs to look for it.

    Raises:
        UsageError: so it is; the hint says how to mend it.
        InfrastructureError: the host could not be asked.
    """
    for node in nodes:
        check_runtime(node.runtime, node.job_id)
    in_vms = [node for node in nodes if node.runtime == "tart"]
    if in_vms:
        from jerichoci.runtime.tart.check import check_vms

        await check_vms(placement, in_vms)
    guests = [node for node in nodes if node.runtime == "incus"]
    if not guests:
        return None
    from jerichoci.runtime.incus.check import check_guests

    return await check_guests(placement, plan, guests)


async def check_machine(placement: Placement, nodes: Sequence[ExecuteNode]) -> None:
    """Refuse a host that is another kind of machine than these jobs' runtimes are for.

    Raises:
        UsageError: it is; the hint says what they need.
        InfrastructureError: the host could not be asked.
    """
    in_vms = [node for node in nodes if node.runtime == "tart"]
    if in_vms:
        from jerichoci.runtime.tart.check import check_mac

        await check_mac(placement, in_vms)


def getting_ready(
    placement: Placement, nodes: Sequence[ExecuteNode]
) -> Iterator[Awaitable[object]]:
    """What jobs will wait for of their runtimes, to be begun while prepares still go on."""
    if any(node.runtime == "host_process" for node in nodes):
        yield placement.confinement()


def check_runtime(name: str, job_id: str) -> None:
    """Refuse a runtime that can't be had, before anything starts.

    Raises:
        UsageError: this version has none of that name.
    """
    if name not in RUNTIMES:
        raise UsageError(
            f"job {job_id} asks for runtime {name!r}; this pikaci has {', '.join(RUNTIMES)}",
            "change the job's `runtime`",
        )


def macos_vms(name: str) -> int:
    """How many of the macOS VMs that its host may run a job of that runtime takes."""
    return 1 if name == "tart" else 0


RUNTIMES = ("host_process", "incus", "tart")
