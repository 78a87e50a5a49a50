"""What a state root has made outside its runs' directories: `elsewhere/<kind>/<name>.json`.

A note is written before what it names is asked for, and removed when that was seen to be gone. So
what a process left that died is found without asking where there is nothing to ask for.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from jerichoci.state import atomic
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout, make_private
from jerichoci.state.owner import Owner, is_owned
from jerichoci.state.reading import read_object
from jerichoci.state.remove_tree import remove_tree
from jerichoci.state.wire import Arrived

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


class Note(Protocol):
    """What is noted of a thing: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The note's name: no other of its kind has it."""


NoteT = TypeVar("NoteT", bound=Note)


@dataclass(frozen=True)
class Ledger(Generic[NoteT]):
    """The notes of one kind of thing, which are of the type `shape`."""

    state: StateLayout
    kind: str
    shape: type[NoteT]

    @property
    def directory(self) -> Path:
        """Where they lie; it exists if there ever was one."""
        return self.state.root / "elsewhere" / self.kind

    def write(self, note: NoteT) -> None:
        """Write a note, whole or not at all."""
        make_private(self.directory)
        atomic.write_json(self._path(note.name), asdict(note))

    def forget(self, name: str) -> None:
        """Remove the note of what is gone."""
        self._path(name).unlink(missing_ok=True)
        self._claim(name).unlink(missing_ok=True)

    def claim(self, name: str) -> bool:
        """Claim what has this name until it is forgotten; False if it is claimed already."""
        try:
            self._claim(name).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        return True

    def all(self) -> Iterator[NoteT]:
        """Every note that can be read."""
        for path in sorted(self.directory.glob("*.json")):
            with suppress(OSError, ValueError):
                note = Arrived(b"").take(self.shape, read_object(path), path.name)
                if self._path(note.name) == path:
                    yield note

    def sweep(self) -> None:
        """Remove what killed processes have half written."""
        for temp in self.directory.glob(f"*.json{atomic.TEMP_MARK}*"):
            writer = temp.name.rpartition(atomic.TEMP_MARK)[2].partition("-")[0]
            if not writer.isdecimal() or not Owner(int(writer), None).is_alive():
                temp.unlink(missing_ok=True)

    def _claim(self, name: str) -> Path:
        return self.directory / f"{name}.claimed"

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"


@dataclass(frozen=True)
class StandingBy:
    """A guest that has no job yet: digests of what was asked for and of what it is made of."""

    kind: str
    made_of: str
    image: str
    """Its alias, for people."""
    made_at: float


@dataclass(frozen=True, kw_only=True)
class GuestNote:
    """A guest, whose it is, where it is, and until when it is kept.

    `host` is None for a guest on this machine. `socket` and `project` lead to an instance's Incus.
    One that stands by is of no run.
    """

    name: str
    run_id: str
    job_id: str
    host: str | None = None
    socket: str = ""
    project: str = ""
    kept_until: float | None = None
    removal_requested: bool = False
    """Whether Incus was asked to remove it: it isn't needed any more, though its run continues."""
    standby: StandingBy | None = None

    @property
    def stands_by(self) -> bool:
        """Whether a job may claim it."""
        return self.standby is not None and not self.removal_requested

    def is_kept(self) -> bool:
        """Whether its time to be looked into is not over."""
        return self.kept_until is not None and time.time() < self.kept_until


class GuestLedger(Ledger[GuestNote]):
    """The notes of one kind of guest."""

    def change(self, note: GuestNote, **changes: bool | float) -> None:
        """Write a note with `changes`."""
        self.write(replace(note, **changes))  # type: ignore[arg-type]  # by name, as the fields are

    def is_doomed(
        self, note: GuestNote, *, removed: Collection[str] = (), requested: bool = True
    ) -> bool:
        """Whether its guest is not needed: its run is not running, or it was kept long enough.

        Those of the runs in `removed` are kept no longer. Without `requested`, Incus is trusted to
        remove what it was asked to.
        """
        if note.removal_requested:
            return requested
        if note.kept_until is not None:
            return note.run_id in removed or not note.is_kept()
        return not is_owned(self.state.run(note.run_id).root)

    def forget_kept(self, note: GuestNote) -> None:
        """Remove a note whose guest is gone, and what was kept on this machine beside it."""
        if note.run_id and note.kept_until is not None and note.host is None:
            run = self.state.run(note.run_id)
            if not is_owned(run.root):
                remove_tree(run.scratch)
        self.forget(note.name)

    def of(self, host: str | None, run_id: str | None = None) -> list[GuestNote]:
        """The notes of guests on a host (None: this machine), of one run or of all."""
        here = (note for note in self.all() if note.host == host)
        return [note for note in here if run_id is None or note.run_id == run_id]


def incus_guests(state: StateLayout) -> GuestLedger:
    """The notes of instances of Incus."""
    return GuestLedger(state, "incus", GuestNote)


def tart_guests(state: StateLayout) -> GuestLedger:
    """The notes of macOS VMs."""
    return GuestLedger(state, "tart", GuestNote)


def noted_guests(state: StateLayout) -> list[GuestNote]:
    """All notes, those of guests on other hosts and of those being removed included."""
    return [*incus_guests(state).all(), *tart_guests(state).all()]


def has_guests(state: StateLayout, host: str, run_id: str) -> bool:
    """Whether a run has guests on a host, those included that are being removed."""
    return any((note.host, note.run_id) == (host, run_id) for note in noted_guests(state))
