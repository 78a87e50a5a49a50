"""The guests of a state root in a project of an Incus, and their bridges, found by their labels."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.runtime.guest_runner import hand_over_command
from jerichoci.runtime.incus.api import (
    EXPIRY_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    IncusError,
    MissingError,
)
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.runtime.reaper import Found
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import is_run_id
from jerichoci.state.ledger import GuestLedger, GuestNote, incus_guests

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from jerichoci.placement import User
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.state.layout import StateLayout

BRIDGE = re.compile(r"pikaci-[0-9a-f]{8}")
"""The names of the bridges of services, of which no instance has one."""
DELETE_SECS = 60.0
"""A forced stop takes 600 ms, and longer where many are stopped at once."""
HAND_OVER_SECS = 30.0
"""For a guest to give its files away; one that hangs keeps them."""


@dataclass(frozen=True)
class IncusPlace:
    """A project of an Incus, on a host where we are `user`.

    `host` is the host's name, or None for this machine, where notes name the socket, too. Of the
    notes of guests there, those of `runs` are meant; None means all.
    """

    state: StateLayout
    incus: Incus
    user: User
    host: str | None = None
    socket: Path | None = None
    runs: Collection[str] | None = None
    what = "guest"

    @property
    def ledger(self) -> GuestLedger:
        """The notes of instances."""
        return incus_guests(self.state)

    def has(self, note: GuestNote) -> bool:
        """Whether the guest of a note is here, if it exists."""
        return (
            (note.host, note.project) == (self.host, self.incus.project)
            and (self.socket is None or note.socket == str(self.socket))
            and (self.runs is None or note.run_id in self.runs)
        )

    async def found(self) -> dict[str, Found]:
        """The instances that have the state root's label."""
        return await in_thread(self._found)

    def _found(self, *, bridges: bool = True) -> dict[str, Found]:
        found: dict[str, Found] = {}
        try:
            instances = self.incus.instances({OWNER_LABEL: self.state.owner_id()})
        except MissingError:
            return found  # the project is gone, and its guests with it
        owned = self.incus.bridges({OWNER_LABEL: self.state.owner_id()}) if bridges else {}
        for instance in instances:
            run_id, until = (instance.config.get(key, "") for key in (RUN_LABEL, EXPIRY_LABEL))
            found[instance.name] = Found(
                run_id if is_run_id(run_id) else None,
                instance.is_running,
                float(until) if until.isdecimal() else 0.0,
            )
        # After the guests on them.
        for name, config in owned.items():
            run_id = config.get(RUN_LABEL, "")
            found[name] = Found(run_id if is_run_id(run_id) else None, is_running=False)
        return found

    async def remove(self, name: str) -> None:
        """Stop and remove an instance.

        A running one gives `user` its files, which only root could remove otherwise.
        """
        await in_thread(self._remove, name)

    def _remove(self, name: str) -> None:
        if BRIDGE.fullmatch(name):
            self.incus.delete_bridge(name)
            return
        uid, gid = self.user.uid, self.user.gid
        if uid != 0 and (found := self.incus.instance(name)) and found.is_running:
            with suppress(IncusError):
                self.incus.execute(name, *hand_over_command(uid, gid), HAND_OVER_SECS)
        self.incus.delete(name, DELETE_SECS)

    async def see_kept(self, name: str, found: Found) -> None:
        """Leave it as it is."""

    def see_removed(self) -> None:
        """Forget the guests that Incus has removed; ask again for those that it has not.

        Those that stood by long enough are asked for, too.
        """
        notes = self.ledger
        over = [note for note in notes.all() if _is_over(note) and self.has(note)]
        # Bridges are looked for only if one is over: Incus looks at all of the host's links.
        bridges = any(BRIDGE.fullmatch(note.name) for note in over)
        there = self._found(bridges=bridges) if over else {}
        for note in over:
            if note.name in there:
                self.incus.stop(note.name)
            else:
                notes.forget(note.name)


def _is_over(note: GuestNote) -> bool:
    return note.removal_requested or (note.stands_by and not note.is_kept())
