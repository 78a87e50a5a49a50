"""One Tart VM on a placement's host: made, run for as long as it is held, stopped and deleted."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, InfrastructureError
from jerichoci.machine.gather import first_done, meanwhile
from jerichoci.machine.slots import MACOS_VMS
from jerichoci.placement.program import Program
from jerichoci.runtime.tart.check import system_of
from jerichoci.runtime.tart.command import (
    LOOK_SECS,
    MACOS,
    NOT_THERE,
    TartError,
    checked,
    clone_argv,
    delete_vm,
    exec_argv,
    last_stderr_lines,
    list_vms,
    run_argv,
    set_argv,
    stop_vm,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from jerichoci.machine.ending import Ending
    from jerichoci.machine.process import Completed
    from jerichoci.placement import Placement
    from jerichoci.plan.plan import Resources

CLONE_SECS = 2 * 3600.0
"""For a base of 60 GB to be pulled from a registry; a clone of one that is here takes a second."""
ROOM_POLL_SECS = 2.0
BOOT_TRIES, BOOT_PAUSE_SECS = 3, 3.0
"""macOS counts a VM for a moment after the process that ran it."""
READY_SECS = 600.0
"""For a VM's guest agent to answer: the first boot of a new macOS is slow."""
PROBE_SECS = 60.0
"""For one answer: tart itself tries for half a minute to reach a guest agent."""
FIRST_PAUSE_SECS, LAST_PAUSE_SECS = 0.2, 2.0
SYNC_SECS = 60.0
"""For what a guest has written to be on its disk, before it is switched off."""
BOOTSTRAP = "/Volumes/My Shared Files/pikaci/bootstrap.sh"
NOT_READY, NO_SUCH_FILE = 69, 127
"""The bootstrap's exit code for a share that isn't there yet, and bash's where the script itself
isn't."""
AGENT_LOST = (1, NOT_THERE)
"""Tart's own exit codes where a guest's agent, or its VM, doesn't answer."""


class TartVm:
    """The VM `name`. Tart's output goes to `log`; `notes` is a directory on its host."""

    def __init__(self, placement: Placement, name: str, log: Path, notes: Path) -> None:
        self._placement = placement
        self._name = name
        self._log = log
        self._notes = notes
        self._held = AsyncExitStack()
        self._ended: asyncio.Future[Ending] | None = None
        self._is_answering = False

    async def is_there(self) -> bool:
        """Whether its host has the VM."""
        return any(vm.name == self._name for vm in await list_vms(self._run))

    async def make(self, base: str, resources: Resources) -> None:
        """Clone the VM from a base, in the place of one that was left."""
        if await self.is_there():
            await self.delete()
        checked(await self._run(clone_argv(base, self._name), CLONE_SECS))
        change = set_argv(self._name, resources)
        if change is not None:
            checked(await self._run(change, LOOK_SECS))

    async def boot(self, shares: Sequence[str], room_secs: float) -> None:
        """Run the VM, which has `room_secs` to wait for others to end, until it answers."""
        end = time.monotonic() + room_secs
        tries = 0
        while True:
            await self._have_room(end)
            await self._start(shares)
            try:
                await self._insist(exec_argv(self._name, ["true"]))
            except _EndedError as error:
                await self.close()
                tries += 1
                # Another VM may have been quicker, and one that just ended may still count.
                is_alone = len(await self._others()) < MACOS_VMS
                if (is_alone and tries >= BOOT_TRIES) or time.monotonic() > end:
                    code = error.tart_exit_code
                    raise InfrastructureError(
                        f"VM {self._name} ended while it started (exit code {code})",
                        "see tart's output in the host log; if no user is logged in on the Mac, its"
                        " login keychain must be unlocked",
                    ) from None
                await asyncio.sleep(BOOT_PAUSE_SECS)
            else:
                self._is_answering = True
                return

    async def begin(self, *words: str) -> None:
        """Run the bootstrap in the guest, as soon as it and what it mounts are there."""
        await self._insist(self.bootstrap(*words), {NOT_READY, NO_SUCH_FILE, *AGENT_LOST})

    def bootstrap(self, *words: str, flags: Sequence[str] = ()) -> list[str]:
        """The command on the host that runs the bootstrap in the guest."""
        return exec_argv(self._name, ["/bin/bash", BOOTSTRAP, *words], *flags)

    async def tell(self, *words: str) -> None:
        """Run the bootstrap without needing its answer; no error if the guest is gone."""
        with suppress(InfrastructureError):
            await self._try(self.bootstrap(*words), PROBE_SECS)

    async def ended(self) -> str:
        """Wait until the VM doesn't run any more; in words for people, what became of it."""
        ending = await asyncio.shield(self._process())
        return f"was switched off (tart exited with {ending.exit_code})"

    async def halt(self) -> None:
        """Stop the VM, its disk written, and leave it."""
        if self._is_answering:
            with suppress(InfrastructureError):
                await self._try(exec_argv(self._name, ["/bin/sync"]), SYNC_SECS)
        await self._stop()

    async def delete(self) -> None:
        """Stop and delete the VM; one that is gone is no error."""
        try:
            await self._stop()
        except HostUnavailableError:
            raise
        except InfrastructureError:
            pass  # Its process is killed by now, if it is ours.
        await delete_vm(self._run, self._name)

    async def close(self) -> None:
        """Kill what runs."""
        ended, self._ended = self._ended, None
        self._is_answering = False
        if ended is not None:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        await self._held.aclose()

    async def _stop(self) -> None:
        try:
            await stop_vm(self._run, self._name)
        finally:
            await self.close()

    async def _have_room(self, end: float) -> None:
        shown: list[str] = []
        while len(others := await self._others()) >= MACOS_VMS:
            names = " and ".join(others)
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"{self._placement.host} runs {names} already, and macOS no more than"
                    f" {MACOS_VMS} VMs of itself",
                    "`tart stop NAME` stops one",
                )
            if others != shown:
                shown = others
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"pikaci> waiting for {names} to end: macOS runs no more VMs\n")
            await asyncio.sleep(ROOM_POLL_SECS)

    async def _others(self) -> list[str]:
        """The other VMs with macOS that run on the host."""
        vms = await list_vms(self._run)
        running = [vm.name for vm in vms if vm.is_running and vm.name != self._name]
        found = []
        for name in running:
            # It may be gone by now.
            with suppress(TartError):
                if await system_of(self._placement, name) == MACOS:
                    found.append(name)
        return found

    async def _start(self, shares: Sequence[str]) -> None:
        program = Program(
            run_argv(self._name, shares),
            cwd=self._placement.state_root,
            env=self._placement.environment,
            log=self._log,
            notes=self._notes,
        )
        running = await self._held.enter_async_context(self._placement.spawn(program))
        self._ended = asyncio.ensure_future(running.wait())

    async def _insist(self, argv: Sequence[str], passing: Collection[int] | None = None) -> None:
        """Run a command in the guest until it succeeds, or ends with a code that isn't `passing`.

        Without `passing`, it is run again after every failure.
        """
        end = time.monotonic() + READY_SECS
        pause = FIRST_PAUSE_SECS
        while True:
            try:
                done = await self._try(argv, PROBE_SECS)
            except (HostUnavailableError, _EndedError):
                raise
            except InfrastructureError as error:
                trouble = error.message
            else:
                if done.exit_code == 0:
                    return
                trouble = last_stderr_lines(done)
                if passing is not None and done.exit_code not in passing:
                    raise InfrastructureError(
                        f"VM {self._name} can't run the job (exit code {done.exit_code}):"
                        f" {trouble}",
                        "docs/tart.md lists what a base must have",
                    )
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"VM {self._name} wasn't ready after {READY_SECS:g} s: {trouble}",
                    "has its base the Tart Guest Agent, and does it log in by itself?",
                )
            await asyncio.sleep(pause)
            pause = min(LAST_PAUSE_SECS, pause * 1.5)

    async def _try(self, argv: Sequence[str], deadline_secs: float) -> Completed:
        """Run a command in the guest while the VM runs."""
        process = self._process()
        async with meanwhile(self._run(argv, deadline_secs)) as (trying,):
            await first_done(process, trying)
            if trying.done():
                done: Completed = trying.result()
                return done
        raise _EndedError(self._name, process.result().exit_code)

    def _process(self) -> asyncio.Future[Ending]:
        if self._ended is None:
            raise InfrastructureError(f"VM {self._name} was not started")
        return self._ended

    async def _run(self, argv: Sequence[str], deadline_secs: float) -> Completed:
        return await self._placement.run(argv, deadline_secs=deadline_secs)


class _EndedError(InfrastructureError):
    """The VM's process ended."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(
            f"VM {name} was switched off (tart exited with {exit_code})",
            "see tart's output in the host log",
        )
        self.tart_exit_code = exit_code
