"""Notes of the guests that one state root has made: `<directory>/<name>.json`.

A note is written before its guest is asked for, and removed when somebody saw that the guest is
gone. So whoever comes after a process that died knows where to look, without asking anybody where
there is nothing to ask for.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from jerichoci.state.owner import Owner
from jerichoci.state.reading import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Note:
    """A guest, whose it is, where it is, and until when it is kept."""

    name: str
    run_id: str
    job_id: str
    kept_until: float | None = None
    away: str | None = None
    """The host it is on, where that is not this machine."""
    handed_over: bool = False
    """Whether somebody was asked to remove it: it isn't needed any more, though its run goes on."""

    def is_sound(self) -> bool:
        """Whether its fields are of the types that they say."""
        texts = (self.name, self.run_id, self.job_id, self.away or "")
        until = 0 if self.kept_until is None else self.kept_until
        return all(isinstance(text, str) for text in texts) and isinstance(until, int | float)

    def is_kept(self) -> bool:
        """Whether somebody may still want to look into it."""
        return self.kept_until is not None and time.time() < self.kept_until


NoteT = TypeVar("NoteT", bound=Note)


@dataclass(frozen=True)
class Notes(Generic[NoteT]):
    """All notes of one kind."""

    directory: Path
    kind: type[NoteT]

    def write(self, note: NoteT) -> None:
        """Write a note, whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        temp = self.directory / f".{note.name}.{os.getpid()}"
        try:
            temp.write_text(json.dumps(asdict(note)))
            temp.rename(self._path(note.name))
        except BaseException:
            temp.unlink(missing_ok=True)
            raise

    def change(self, note: NoteT, **changes: bool | float) -> None:
        """Write a note with `changes`."""
        self.write(replace(note, **changes))  # type: ignore[arg-type]  # by name, as the fields are

    def forget(self, name: str) -> None:
        """Remove a note: its guest is gone."""
        self._path(name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what processes that were killed have half written."""
        for temp in self.directory.glob(".*"):
            writer = temp.suffix.removeprefix(".")
            if not writer.isdecimal() or not Owner(int(writer), None).is_alive():
                temp.unlink(missing_ok=True)

    def all(self) -> Iterator[NoteT]:
        """Every note that can be read."""
        with suppress(FileNotFoundError):
            for path in sorted(self.directory.glob("*.json")):
                with suppress(OSError, ValueError, TypeError):
                    note = self.kind(**read_object(path))
                    if note.name == path.stem and note.is_sound():
                        yield note

    def any(self) -> bool:
        """Whether there is any."""
        return next(self.all(), None) is not None

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"
