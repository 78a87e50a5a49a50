"""Deleting VMs that are not needed any more.

A VM is needed while the process that runs its run lives, and while it is kept for a look. VMs are
found by their names, with notes or without. What can't be deleted now is left to the next call.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine import process
from jerichoci.runtime.tart.command import delete_vm, list_vms, stop_vm
from jerichoci.runtime.tart.name import SHELL_LOCK, VmName, owner_part, parse_name
from jerichoci.state.guest_notes import vm_notes
from jerichoci.state.lock import is_held as is_locked
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from jerichoci.machine.process import Completed
    from jerichoci.runtime.tart.command import Run
    from jerichoci.state.guest_notes import GuestNote
    from jerichoci.state.layout import StateLayout

LOGGER = logging.getLogger("jerichoci")


async def _run_here(argv: Sequence[str], deadline_secs: float) -> Completed:
    return await process.run(argv, deadline_secs=deadline_secs)


@dataclass(frozen=True)
class VmReaper:
    """What deletes the VMs of one state root on the host where `run` runs commands.

    `host` is its name, or None for this machine. Those of the runs in `removed` are kept no longer.
    """

    state: StateLayout
    run: Run = _run_here
    host: str | None = None
    removed: Collection[str] = ()

    async def reap(self) -> list[str]:
        """Delete those that are not needed; their names."""
        mine = await self._mine()
        # Of all hosts: this one may have another name, too.
        notes = {note.name: note for note in vm_notes(self.state).all()}
        gone = []
        for vm, is_running in mine.items():
            name, note = str(vm), notes.get(str(vm))
            if vm.run_id in self.removed or self._is_doomed(vm, note):
                if await self._could("remove", self._delete(name), name):
                    gone.append(name)
            elif is_running and note and note.is_kept() and not self._has_shell(vm):
                # A killed shell has left it running: it takes another one's room.
                await self._could("stop", stop_vm(self.run, name), name)
        names = {str(vm) for vm in mine}
        for name, note in notes.items():
            is_here = note.host == self.host
            if name in gone or (is_here and name not in names and self._is_over(note)):
                vm_notes(self.state).forget_kept(note)
        return gone

    async def remove(self, run_id: str) -> None:
        """Delete what a run kept, whose record is removed."""
        notes = vm_notes(self.state)
        for note in notes.of(self.host, run_id):
            await self._delete(note.name)
            notes.forget(note.name)

    async def _mine(self) -> dict[VmName, bool]:
        """The VMs of this state root, and whether they run."""
        owner = owner_part(self.state.owner_id())
        names = {parse_name(vm.name): vm.is_running for vm in await list_vms(self.run)}
        return {name: runs for name, runs in names.items() if name and name.owner == owner}

    def _is_doomed(self, name: VmName, note: GuestNote | None) -> bool:
        return vm_notes(self.state).is_doomed(note) if note else self._is_over(name)

    def _is_over(self, of: VmName | GuestNote) -> bool:
        """Whether a VM that isn't there won't be made any more."""
        return not is_owned(self.state.run(of.run_id).root)

    def _has_shell(self, name: VmName) -> bool:
        attempt = self.state.run(name.run_id).attempt(name.job_id, name.attempt)
        return is_locked(attempt / SHELL_LOCK)

    async def _could(self, verb: str, act: Awaitable[None], name: str) -> bool:
        try:
            await act
        except PikaciError as error:
            LOGGER.warning("could not %s VM %s: %s", verb, name, error)
            return False
        return True

    async def _delete(self, name: str) -> None:
        await stop_vm(self.run, name)
        await delete_vm(self.run, name)


async def make_room(state: StateLayout, run_id: str) -> None:
    """Delete what other runs than this one have left on this machine: it may run still.

    Tart is not asked where nothing of theirs is noted.
    """
    here = vm_notes(state).of(None)
    if any(note.run_id != run_id and not note.is_kept() for note in here):
        try:
            await VmReaper(state).reap()
        except PikaciError as error:
            LOGGER.warning("could not remove the VMs of other runs: %s", error)
