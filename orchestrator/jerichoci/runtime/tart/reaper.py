"""The VMs of a state root on a host, found by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine import process
from jerichoci.runtime.reaper import LOGGER, Found, reap
from jerichoci.runtime.tart.command import delete_vm, list_vms, stop_vm
from jerichoci.runtime.tart.name import SHELL_LOCK, parse_name
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import owner_part
from jerichoci.state.ledger import GuestLedger, GuestNote, tart_guests
from jerichoci.state.lock import is_held

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jerichoci.machine.process import Completed
    from jerichoci.runtime.tart.command import Run
    from jerichoci.state.layout import StateLayout


async def _run_here(argv: Sequence[str], deadline_secs: float) -> Completed:
    return await process.run(argv, deadline_secs=deadline_secs)


@dataclass(frozen=True)
class TartPlace:
    """The Tart of the host where `run` runs commands.

    `host` is its name, or None for this machine. Of the notes of guests there, those of `runs` are
    meant; None means all.
    """

    state: StateLayout
    run: Run = _run_here
    host: str | None = None
    runs: Collection[str] | None = None
    what = "VM"

    @property
    def ledger(self) -> GuestLedger:
        """The notes of VMs."""
        return tart_guests(self.state)

    def has(self, note: GuestNote) -> bool:
        """Whether the VM of a note is here, if it exists."""
        return note.host == self.host and (self.runs is None or note.run_id in self.runs)

    async def found(self) -> dict[str, Found]:
        """The VMs whose names have the state root's owner."""
        owner = owner_part(self.state.owner_id())
        vms = {vm.name: (parse_name(vm.name), vm.is_running) for vm in await list_vms(self.run)}
        return {
            text: Found(name.run_id, is_running)
            for text, (name, is_running) in vms.items()
            if name and name.owner == owner
        }

    async def remove(self, name: str) -> None:
        """Stop and delete a VM."""
        await stop_vm(self.run, name)
        await delete_vm(self.run, name)

    async def see_kept(self, name: str, found: Found) -> None:
        """Stop a VM that a killed shell has left running: it takes another one's room."""
        vm = parse_name(name)
        if vm and found.is_running:
            attempt = self.state.run(vm.run_id).attempt(vm.job_id, vm.attempt)
            if not is_held(attempt / SHELL_LOCK):
                await stop_vm(self.run, name)


async def make_room(state: StateLayout, run_id: str) -> None:
    """Delete what other runs than this one have left on this machine: it may run still.

    Tart is not asked where nothing of theirs is noted.
    """
    here = tart_guests(state).of(None)
    if any(note.run_id != run_id and not note.is_kept() for note in here):
        try:
            await reap(TartPlace(state))
        except PikaciError as error:
            LOGGER.warning("could not remove the VMs of other runs: %s", error)
