"""Guests that stand by: they run without a job, and the next job that fits claims one.

- A guest that stands by is made when a job is over, and its creation is left to Incus.
- It is claimed by one process alone (`Ledger.claim`), and is removed after its job like any other.
- What it is made of is known by a digest: the image, the profile, the network, the settings. A
  guest made of anything else, or too old, or that doesn't run, is removed and not claimed.
- It gets the job's mounts, limits and labels by one change, if it is still what was looked at.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.runtime.incus.api import EXPIRY_LABEL, OWNER_LABEL, STANDBY_LABEL, IncusError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ledger import GuestNote, StandingBy, incus_guests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jerichoci.placement import StandbySettings
    from jerichoci.runtime.incus.api import Profile
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.state.layout import StateLayout

VERSION = 1
"""Of how guests are made, beyond what is in the request for one."""
CREATE_SECS = 60.0
"""For Incus to finish a guest that was asked for before."""
MIB_IN_KIB = 1024
NAME = "pikaci-standby-"


@dataclass(frozen=True)
class Wanted:
    """What a job's guest is to be: the request for it, without a name and what is the job's own."""

    image: str
    """The alias."""
    body: Mapping[str, Any]
    profile: Profile

    @property
    def kind(self) -> str:
        """What was asked for: of a kind, one guest may replace another."""
        return _digest(self.image, self.body["profiles"], self.body["devices"])

    @property
    def made_of(self) -> str:
        """What that is at the moment."""
        return _digest(VERSION, self.body, asdict(self.profile))


@dataclass(frozen=True)
class Pool:
    """The guests of a state root that stand by at one Incus of this machine."""

    state: StateLayout
    incus: Incus
    socket: str
    settings: StandbySettings

    def notes(self) -> list[GuestNote]:
        """The notes of these guests, the oldest first."""
        here = self.socket, self.incus.project
        found = [note for note in standing_by(self.state) if (note.socket, note.project) == here]
        return sorted(found, key=_made_at)

    def claim(
        self,
        wanted: Wanted,
        note_for: Callable[[str], GuestNote],
        config: Mapping[str, str],
        devices: Mapping[str, Any],
    ) -> GuestNote | None:
        """Have a guest with this config and these devices; its new note, None if there is none."""
        ledger = incus_guests(self.state)
        for note in self.notes():
            stands_by = note.standby
            if not stands_by or stands_by.kind != wanted.kind or not ledger.claim(note.name):
                continue
            if note.is_kept() and stands_by.made_of == wanted.made_of:
                claimed = note_for(note.name)
                ledger.write(claimed)
                with suppress(IncusError):
                    if time.time() - stands_by.made_at < CREATE_SECS:
                        # It may have been asked for a moment ago.
                        self.incus.finish_operations(note.name, CREATE_SECS)
                    given = {STANDBY_LABEL: "", EXPIRY_LABEL: "", **config}
                    looked_for = {STANDBY_LABEL: stands_by.kind}
                    if self.incus.take_over(note.name, looked_for, given, devices):
                        return claimed
                note = claimed  # noqa: PLW2901 - it has the name still
            self._give_up(note)
        return None

    def leave(self, wanted: Wanted) -> None:
        """Have a guest stand by, unless enough do; errors of Incus are no error of the job."""
        ledger, there = incus_guests(self.state), self.notes()
        stale = [note for note in there if not _is_good(note, wanted)]
        good = [note for note in there if note not in stale]
        same = [note for note in good if note.standby and note.standby.kind == wanted.kind]
        is_enough = len(same) >= self.settings.guests or available_mib() < self.settings.free_mib
        others = [note for note in good if note not in same]
        surplus = len(good) + 1 - self.settings.guests
        if not is_enough and surplus > 0:
            stale += others[:surplus]
        for note in stale:
            if ledger.claim(note.name):
                self._give_up(note)
        if not is_enough:
            with suppress(PikaciError):
                self._make(wanted)

    def _make(self, wanted: Wanted) -> None:
        ledger, now = incus_guests(self.state), time.time()
        name, until = f"{NAME}{secrets.token_hex(4)}", now + self.settings.minutes * 60
        stands_by = StandingBy(wanted.kind, wanted.made_of, wanted.image, now)
        note = GuestNote(
            name=name,
            run_id="",
            job_id="",
            socket=self.socket,
            project=self.incus.project,
            kept_until=until,
            standby=stands_by,
        )
        labels = {
            OWNER_LABEL: self.state.owner_id(),
            STANDBY_LABEL: wanted.kind,
            EXPIRY_LABEL: f"{until:.0f}",
        }
        ledger.write(note)
        config = {**wanted.body["config"], **labels}
        self.incus.begin_creation({**wanted.body, "name": name, "config": config})

    def _give_up(self, note: GuestNote) -> None:
        """Have a claimed guest removed."""
        with suppress(IncusError):
            self.incus.stop(note.name)
        incus_guests(self.state).change(note, removal_requested=True)


def standing_by(state: StateLayout) -> list[GuestNote]:
    """The notes of the guests that stand by, wherever they are."""
    return [note for note in incus_guests(state).all() if note.stands_by]


@dataclass(frozen=True)
class Row:
    """A guest that stands by, for people: `state` is Incus's word, such as running."""

    name: str
    image: str
    state: str
    made_at: float
    kept_until: float


def look(state: StateLayout) -> list[Row]:
    """The guests that stand by, the oldest first."""
    from jerichoci.runtime.incus.client import Incus

    found = []
    for note in sorted(standing_by(state), key=_made_at):
        there = Incus(Path(note.socket), note.project).instance(note.name)
        status = there.status.lower() if there else "gone"
        image = note.standby.image if note.standby else ""
        found.append(Row(note.name, image, status, _made_at(note), note.kept_until or 0.0))
    return found


def clear(state: StateLayout) -> list[str]:
    """Have all guests that stand by removed; their names."""
    from jerichoci.runtime.incus.client import Incus

    ledger, cleared = incus_guests(state), []
    for note in standing_by(state):
        if ledger.claim(note.name):
            Incus(Path(note.socket), note.project).stop(note.name)
            ledger.change(note, removal_requested=True)
            cleared.append(note.name)
    return cleared


def available_mib() -> float:
    """The memory that programs could have on this machine; infinite where it doesn't say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / MIB_IN_KIB
    return float("inf")


def _is_good(note: GuestNote, wanted: Wanted) -> bool:
    """Whether a guest may be claimed one day, as far as its note tells."""
    is_other = note.standby is None or note.standby.kind != wanted.kind
    return note.is_kept() and (
        is_other or note.standby is None or note.standby.made_of == wanted.made_of
    )


def _made_at(note: GuestNote) -> float:
    return note.standby.made_at if note.standby else 0.0


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
