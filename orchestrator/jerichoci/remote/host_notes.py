"""Notes of the hosts that runs of a state root are on.

A note is written before a run makes anything on a host, and removed when that is gone. So what
a dead process left can be found and reached. As long as a note names a process that lives, nothing
of its run is removed: a run is on its hosts before it has a directory here.

A host that was used has a note of its settings, too, until nothing is kept there for later runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ledger import Ledger
from jerichoci.state.owner import Owner, process_start

if TYPE_CHECKING:
    from jerichoci.remote.session import Session
    from jerichoci.state.layout import StateLayout

OWNER_LETTERS = 8


def note_name(host: str, run_id: str) -> str:
    """What the note of a run on a host is called."""
    return f"{host}--{run_id}"


@dataclass(frozen=True)
class HostNote:
    """A run, the host it is on, the session that it has there, and the host's settings.

    `session` is empty when the run needs it no longer; so is `pid`.
    """

    host: str
    run_id: str
    session: str
    settings: dict[str, Any]
    pid: int | None = None
    started: str | None = None

    @property
    def name(self) -> str:
        """The note's name."""
        return note_name(self.host, self.run_id)

    @property
    def is_alive(self) -> bool:
        """Whether the process still exists that uses the session for the run."""
        return self.pid is not None and Owner(self.pid, self.started).is_alive()


@dataclass(frozen=True)
class UsedHost:
    """The settings that a host had when it was used last."""

    name: str
    settings: dict[str, Any]


class HostLedger(Ledger[HostNote]):
    """The notes of runs on hosts."""

    def enter(self, session: Session, run_id: str) -> None:
        """Note that a run uses the host of a session."""
        me = os.getpid()
        settings = _settings(session)
        note = HostNote(session.name, run_id, session.id, settings, me, process_start(me))
        for other in self.all():
            if other.name == note.name and other.is_alive and other.session != session.id:
                raise UsageError(
                    f"run {run_id} is on host {session.name} already",
                    "give each run an id of its own",
                )
        self.write(note)
        used_hosts(self.state).write(UsedHost(session.name, settings))

    def leave(self, session: Session, run_id: str, *, ends: bool) -> None:
        """Note that a run is over and left something; `ends` if its session should end."""
        self.write(HostNote(session.name, run_id, session.id if ends else "", _settings(session)))


def _settings(session: Session) -> dict[str, Any]:
    return session.host.config.model_dump(exclude_unset=True)


def host_notes(state: StateLayout) -> HostLedger:
    """The notes of runs on hosts."""
    return HostLedger(state, "hosts", HostNote)


def used_hosts(state: StateLayout) -> Ledger[UsedHost]:
    """The notes of hosts that were used."""
    return Ledger(state, "used-hosts", UsedHost)


def run_name(state: StateLayout, run_id: str) -> str:
    """What a run's directory is called on a host: runs of other state roots have other names."""
    return f"{run_id}--{state.owner_id()[:OWNER_LETTERS]}"
