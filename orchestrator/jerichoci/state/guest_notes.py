"""Notes of the guests that a state root has made: `guests/<name>.json` and `vms/<name>.json`.

A note is written before its guest is asked for, and removed when the guest was seen to be gone. So
what a process left that died is found without asking where there is nothing to ask for.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from jerichoci.state.owner import Owner, is_owned
from jerichoci.state.reading import read_object
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True, kw_only=True)
class GuestNote:
    """A guest, whose it is, where it is, and until when it is kept.

    `host` is None for a guest on this machine. `socket` and `project` lead to an instance's Incus.
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

    def is_valid(self) -> bool:
        """Whether its fields are of the types that they say."""
        texts = (self.name, self.run_id, self.job_id, self.host or "", self.socket, self.project)
        until = 0 if self.kept_until is None else self.kept_until
        return all(isinstance(text, str) for text in texts) and isinstance(until, int | float)

    def is_kept(self) -> bool:
        """Whether its time to be looked into is not over."""
        return self.kept_until is not None and time.time() < self.kept_until


@dataclass(frozen=True)
class Notes:
    """All notes of one kind of guest."""

    state: StateLayout
    name: str

    @property
    def directory(self) -> Path:
        """Where they lie."""
        return self.state.root / self.name

    def write(self, note: GuestNote) -> None:
        """Write a note, whole or not at all."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        temp = self.directory / f".{note.name}.{os.getpid()}"
        try:
            temp.write_text(json.dumps(asdict(note)))
            temp.rename(self._path(note.name))
        except BaseException:
            temp.unlink(missing_ok=True)
            raise

    def change(self, note: GuestNote, **changes: bool | float) -> None:
        """Write a note with `changes`."""
        self.write(replace(note, **changes))  # type: ignore[arg-type]  # by name, as the fields are

    def forget(self, name: str) -> None:
        """Remove the note of a guest that is gone."""
        self._path(name).unlink(missing_ok=True)

    def is_doomed(self, note: GuestNote) -> bool:
        """Whether its guest is not needed: its run is not running, or it was kept long enough."""
        if note.kept_until is not None:
            return not note.is_kept()
        return not is_owned(self.state.run(note.run_id).root)

    def forget_kept(self, note: GuestNote) -> None:
        """Remove a note whose guest is gone, and what was kept on this machine beside it."""
        run = self.state.run(note.run_id)
        if note.kept_until is not None and note.host is None and not is_owned(run.root):
            remove_tree(run.scratch)
        self.forget(note.name)

    def sweep(self) -> None:
        """Remove notes that killed processes have half written."""
        for temp in self.directory.glob(".*"):
            writer = temp.suffix.removeprefix(".")
            if not writer.isdecimal() or not Owner(int(writer), None).is_alive():
                temp.unlink(missing_ok=True)

    def all(self) -> Iterator[GuestNote]:
        """Every note that can be read."""
        with suppress(FileNotFoundError):
            for path in sorted(self.directory.glob("*.json")):
                with suppress(OSError, ValueError, TypeError):
                    note = GuestNote(**read_object(path))
                    if note.name == path.stem and note.is_valid():
                        yield note

    def of(self, host: str | None, run_id: str | None = None) -> list[GuestNote]:
        """The notes of guests on a host (None: this machine), of one run or of all."""
        here = (note for note in self.all() if note.host == host)
        return [note for note in here if run_id is None or note.run_id == run_id]

    def any(self) -> bool:
        """Whether there is any."""
        return next(self.all(), None) is not None

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"


def guest_notes(state: StateLayout) -> Notes:
    """The notes of instances of Incus."""
    return Notes(state, "guests")


def vm_notes(state: StateLayout) -> Notes:
    """The notes of macOS VMs."""
    return Notes(state, "vms")


def noted_guests(state: StateLayout) -> Iterator[GuestNote]:
    """All notes, those of guests on other hosts and of those being removed included."""
    yield from guest_notes(state).all()
    yield from vm_notes(state).all()


def has_guests(state: StateLayout, host: str, run_id: str) -> bool:
    """Whether a run has guests on a host, those included that are being removed."""
    return bool(guest_notes(state).of(host, run_id) or vm_notes(state).of(host, run_id))
