"""A job as a process of the host: its own namespaces where the kernel has them, else its own group.

The command runs as `bash --noprofile --norc -c COMMAND` at the root of a private workspace. What it
prints goes straight to host.log.
"""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from dataclasses import field
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.confined_job import ConfinedJob
from jerichoci.machine.confinement import bind_text
from jerichoci.machine.control_groups import NO_LIMITS, Limits
from jerichoci.machine.gather import first_done, meanwhile, together
from jerichoci.machine.secret_files import paths, setup_text
from jerichoci.machine.workspace import Workspace, copy_argv
from jerichoci.placement import Placement, operations
from jerichoci.placement.program import Program, Running
from jerichoci.plan.network import HOSTS_OWN, AllowedNetwork
from jerichoci.runtime import Attempt, Finish
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.ending import Ending
    from jerichoci.machine.stop import Stop
    from jerichoci.network.host_gate import HostGate
    from jerichoci.plan.plan import Resources
    from jerichoci.world import Share

GRACE_SECS = 10.0
"""From TERM to KILL: long enough to flush and close, short enough to wait for."""
STOP_NOW_GRACE_SECS = 0.2
"""The same after a second Ctrl-C."""
NEWS_SECS = 10.0
"""For the news of an end that a job's host knows of; a root's job can make up that it ended."""
COPY_DEADLINE_SECS = 1800.0
"""A tree of any size that one would run a job on, from a slow disk."""
LOOPBACK = "loopback"
KILLED_DEADLINE_SECS = 30.0
"""For the kernel to take a killed namespace down, a disk in trouble included."""


@dataclass(kw_only=True)
class ShellCommand:
    """A shell text in a private workspace of a snapshot."""

    placement: Placement
    confinement: Confinement
    command: str
    env: dict[str, str]
    snapshot: Path
    scratch: Path
    log: Path
    writable: bool = True
    shares: Sequence[Share] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    network: str | AllowedNetwork | None = None
    """None: the host's own; `none`, or `loopback` with nothing but that."""
    limits: Limits = NO_LIMITS
    grace_secs: float = GRACE_SECS
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _running: Running | None = None

    def __post_init__(self) -> None:
        """Say where its workspace is, and of what kind."""
        self.workspace = Workspace(self.scratch)
        self.workspace_kind = self.confinement.workspace_kind(writable=self.writable)
        self._gate: HostGate | None = None

    async def prepare(self) -> None:
        """Make the workspace's directories, and its copy where there is no overlay."""
        await self.placement.do(operations.make_workspace, self.workspace.root)
        if isinstance(self.network, AllowedNetwork):
            from jerichoci.network.host_gate import HostGate

            self._gate = HostGate(self.network.allow, self.scratch / "network")
            await self._gate.make(self.placement)
        if self.workspace_kind == "copy":
            argv = copy_argv(self.snapshot, self.workspace.mount)
            done = await self.placement.run(argv, deadline_secs=COPY_DEADLINE_SECS)
            if not done.ok:
                raise InfrastructureError(f"could not copy the workspace: {done.reason()}")

    async def launch(self) -> None:
        """Start the command."""
        root = self.placement.state_root
        job = ConfinedJob(
            self.confinement,
            self.command,
            self.env,
            str(self.snapshot.relative_to(root)),
            str(self.workspace.root.relative_to(root)),
            self.workspace_kind,
            own_network=isinstance(self.network, str),
            setup=self._setup(),
            inside=self._gate.inside if self._gate else (),
        )
        program = Program(
            job,
            cwd=root,
            env=self.placement.environment,
            log=self.log,
            notes=self.workspace.root,
            limits=self.limits,
            secrets=self.secrets,
        )
        self._running = await self._stack.enter_async_context(self.placement.spawn(program))

    def _setup(self) -> str:
        home = self.placement.environment.get("HOME", "/")
        root = self.placement.state_root
        texts = []
        for share in self.shares:
            target = share.path_for(home)
            if share.under is None:
                texts.append(bind_text(str(share.source), target, writable=share.writable))
            else:
                lower, upper = (path.relative_to(root) for path in (share.under, share.source))
                texts.append(self.confinement.overlay_text(lower, upper, target))
        if self.secrets:
            texts.append(setup_text(secrets_below(self.scratch)))
        if self._gate:
            texts.append(self._gate.setup_text())
        if self.network == LOOPBACK:
            texts.append("ip link set lo up || exit 125\n")
        return "".join(texts)

    async def wait(self, timeout_secs: float, stop: Stop) -> Finish:
        """Wait for the end, the timeout or `stop`: then TERM, and KILL after the grace."""
        if self._running is None:
            raise InfrastructureError("the command was not launched")
        began = time.monotonic()
        try:
            async with meanwhile(self._running.wait(), stop.wait()) as (ended, stopped):
                await first_done(ended, stopped, secs=timeout_secs)
                is_late = False
                if time.monotonic() - began >= timeout_secs:
                    # It may have ended long ago, while this process was stopped: ask its host.
                    asking = self._running.ended_within(timeout_secs)
                    is_late = await _is_late(asking, ended, stopped)
                if ended.done() and not is_late:
                    return _finish(ended.result())
                if not ended.done():
                    await self._end(self._running, ended, stop)
                return Finish(
                    exit_code=ended.result().exit_code if ended.result().started else None,
                    timed_out=not stop.is_set(),
                    stopped=stop.is_set(),
                    out_of_memory=ended.result().out_of_memory,
                    refused_processes=ended.result().refused_processes,
                )
        finally:
            await self.close()

    async def _end(self, running: Running, ended: asyncio.Future[Ending], stop: Stop) -> None:
        running.terminate()
        async with meanwhile(stop.stop_now.wait()) as (stop_now,):
            await first_done(ended, stop_now, secs=self.grace_secs)
            if not ended.done():
                await first_done(ended, secs=STOP_NOW_GRACE_SECS if stop_now.done() else 0)
        if not ended.done():
            running.kill()
            await first_done(ended, secs=KILLED_DEADLINE_SECS)
        if not ended.done():
            raise InfrastructureError(
                f"the killed command was still running after {KILLED_DEADLINE_SECS:g} s",
                "is the host, or its disk, in trouble?",
            )

    async def close(self) -> None:
        """Kill what runs."""
        await self._stack.aclose()


async def _is_late(
    asking: Coroutine[Any, Any, bool], ended: asyncio.Future[Ending], stopped: asyncio.Future[None]
) -> bool:
    """Whether the time is up; if it ended in time and only the news of it is late, wait for it.

    Both the answer and the news may come at once, when a connection is made again.
    """
    async with meanwhile(asking) as (asked,):
        await first_done(stopped, asked)
        if stopped.done():
            return False
        if asked.result():
            await first_done(ended, stopped, secs=NEWS_SECS)
            return not (ended.done() or stopped.done())
        return True


def _finish(ending: Ending) -> Finish:
    if not ending.started:
        raise InfrastructureError(
            f"the workspace could not be set up (exit code {ending.exit_code})",
            "the host log has the reason",
        )
    return Finish(
        exit_code=ending.exit_code,
        signal=ending.signal,
        out_of_memory=ending.out_of_memory,
        refused_processes=ending.refused_processes,
    )


class HostProcess:
    """The `host_process` runtime."""

    def __init__(self, placement: Placement, attempt: Attempt) -> None:
        self._placement = placement
        self._attempt = attempt
        self._command: ShellCommand | None = None
        self.execution: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Make the workspace and find out what holds the job."""
        execute = self._attempt.execute
        if execute.run_as_root and self._placement.user.uid != 0:
            raise UsageError(
                f"job {self._attempt.node.job_id} wants to run as root",
                f"be root on {self._placement.host}, or give the job a runtime with a root of its"
                " own",
            )
        confinement = await self._placement.confinement()
        self._command = ShellCommand(
            placement=self._placement,
            confinement=confinement,
            command=execute.command,
            env=job_environment(self._attempt, self._outgoing, self._placement.job_path),
            shares=self._attempt.world.shares,
            secrets=self._secrets(confinement),
            network=self._network(confinement),
            snapshot=self._attempt.snapshot,
            scratch=self._attempt.scratch,
            log=self._attempt.host_log,
            writable=execute.writable_workspace,
            limits=execute.resources.limits(),
        )
        self.execution |= {
            "processes": confinement.processes,
            "workspace": self._command.workspace_kind,
        }
        await self._record_limits(execute.resources)
        make_private(self._attempt.artifacts.parent)
        # In this order, but one doesn't wait for the other on a host that is far away.
        making = self._placement.do(operations.make_directory, self._outgoing)
        await together(self._command.prepare(), making)

    def _secrets(self, confinement: Confinement) -> Mapping[str, bytes]:
        """What the job is given in files that only it sees."""
        secrets = self._attempt.world.secrets
        if secrets and not confinement.namespaces:
            raise UsageError(
                f"job {self._attempt.node.job_id} can't be given secrets on"
                f" {self._placement.host}, which has no namespaces for jobs",
                "give it another host, or a runtime with guests",
            )
        return secrets

    def _network(self, confinement: Confinement) -> str | AllowedNetwork | None:
        """The network of the job, if it is not the host's own."""
        network = self._attempt.node.execute.network
        if network is None or network == HOSTS_OWN:
            return None
        if not confinement.namespaces:
            raise UsageError(
                f"job {self._attempt.node.job_id} can't be kept from the network of"
                f" {self._placement.host}, which has no namespaces for jobs",
                "give it another host or runtime, or no `network`",
            )
        self.execution["network"] = network if isinstance(network, str) else "allow"
        return network

    async def _record_limits(self, asked: Resources) -> None:
        """Record which of the limits that the job asks for hold here."""
        wanted = {
            "cpu": ("cpus", "cpus", asked.cpus),
            "memory": ("memory", "memoryMib", asked.memory_mib),
            "pids": ("pids", "pids", asked.pids),
        }
        wanted = {name: row for name, row in wanted.items() if row[2] is not None}
        found = await self._placement.do(operations.limitable) if wanted else ()
        for controller, (word, key, _) in wanted.items():
            self.execution[word] = "limited" if controller in found else "not_limited"
            if controller not in found:
                self._attempt.note(
                    f"`resources.{key}` limits nothing on {self._placement.host}: no control"
                    f" group for {controller} can be made there"
                )
        if asked.disk_mib is not None:
            self.execution["disk"] = "not_limited"
            self._attempt.note(
                "`resources.diskMib` limits no process of a host: only guests have a disk of"
                " their own"
            )

    @property
    def _outgoing(self) -> Path:
        return self._placement.outgoing(self._attempt.scratch, self._attempt.artifacts)

    async def launch(self) -> None:
        """Start the command."""
        await self._shell().launch()

    async def wait(self, stop: Stop) -> Finish:
        """Wait for the command."""
        return await self._shell().wait(self._attempt.node.execute.timeout_secs, stop)

    async def collect(self, is_over: Callable[[], bool]) -> list[Artifact]:
        """Take stock of the artifacts."""
        return await self._placement.fetch_artifacts(
            self._outgoing, self._attempt.artifacts, is_over, self._attempt.admission
        )

    async def release(self, *, keep: bool) -> None:
        """Kill what runs and remove the workspace."""
        if self._command is not None:
            await self._command.close()
        if keep:
            await self._placement.keep(self._attempt.scratch)
        else:
            await self._placement.do(operations.remove, self._attempt.scratch)

    async def wait_removed(self) -> None:
        """Nothing is removed later."""

    def _shell(self) -> ShellCommand:
        if self._command is None:
            raise InfrastructureError("the runtime was not prepared")
        return self._command


def job_environment(attempt: Attempt, artifacts: Path, path: str) -> dict[str, str]:
    """What a host process has beside what passes from its host's own environment."""
    execute, world = attempt.node.execute, attempt.world
    named = {ref.env: str(attempt.inputs[ref.node_id]) for ref in execute.inputs if ref.env}
    own: dict[str, str] = {"PATH": os.pathsep.join([*world.path, path]), **world.env}
    secrets = paths([*world.secrets], str(secrets_below(attempt.scratch)))
    return own | execute.env | named | secrets | {"PIKACI_ARTIFACTS": str(artifacts)}


def secrets_below(scratch: Path) -> Path:
    """Where a job sees its secrets; there is nothing there but in its own mount namespace."""
    return scratch / "secrets"
