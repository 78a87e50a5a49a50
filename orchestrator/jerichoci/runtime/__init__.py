"""How a job is isolated where it runs: one Protocol, an implementation a file.

A runtime lives for one attempt. The engine calls its steps in order, times them as phases, and
calls `release` whatever happened before.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from jerichoci.machine.artifact_limits import Admission
from jerichoci.state.dataclass import dataclass
from jerichoci.world import NOTHING, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.stop import Stop
    from jerichoci.plan.plan import Execute, ExecuteNode, Image
    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True)
class Attempt:
    """What a runtime needs to know of its attempt."""

    state: StateLayout
    run_id: str
    node: ExecuteNode
    images: Mapping[str, Image]
    """The plan's images, by role."""
    number: int
    inputs: Mapping[str, Path]
    """Where each prepared output is on the placement's host, by node id."""
    survey: object | None
    """What the runtime's own check found on the host before the run, if it looks for something."""
    may_be_kept: bool
    """Whether what the job ran in may be kept when it is over."""
    snapshot: Path
    scratch: Path
    directory: Path
    """Where host.log, guest.log and artifacts/ of this attempt belong."""
    admission: Admission = field(default_factory=Admission)
    """Which of the files that the job leaves are taken."""
    world: World = NOTHING
    """What the job has beside its command, inputs and workspace."""
    note: Callable[[str], None] = print
    """Takes notes on the attempt for its record, however the job ends."""

    @property
    def execute(self) -> Execute:
        """What the job executes, with what its world runs around its command."""
        execute = self.node.execute
        execute = execute.with_(inputs=execute.shown_inputs)
        if not self.world.wraps:
            return execute
        return execute.with_(command=self.world.wrapped(execute.command))

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
    silent: bool = False
    """Whether its time was up because it printed nothing for too long."""
    signal: int | None = None
    """The signal that ended it, if it is known to have been one."""
    memory_limited: bool = True
    """False if the kernel limits what it uses by no control group."""
    out_of_memory: bool = False
    """Whether the kernel killed a process of the job because memory ran out."""
    refused_processes: bool = False
    """Whether the kernel refused a process because the job had as many as it may."""


class Runtime(Protocol):
    """An attempt's isolation."""

    @property
    def execution(self) -> dict[str, Any]:
        """What this runtime adds to the job's record."""

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
        """Remove what was made, or keep it; what takes long may be removed in the background."""

    async def wait_removed(self) -> None:
        """Wait until what is removed in the background is gone."""
