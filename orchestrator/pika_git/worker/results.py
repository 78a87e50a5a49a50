"""Ends of lanes on their way to the database.

Those that it can't take now are kept on disk until it takes or refuses them.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from pika_git.persistence import queue
from pika_git.persistence.queue import Ending, LaneState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika_git.persistence.database import Database


@dataclass
class Results:
    """The ends that are not delivered yet: in memory, and in a directory, a file each."""

    directory: Path
    _new: list[tuple[int, int, Ending]] = field(default_factory=list)
    _delivered: set[Path] = field(default_factory=set)
    """Files that are still to be removed."""

    def add(self, lane: int, token: int, ending: Ending) -> None:
        """An end to be delivered."""
        self._new.append((lane, token, ending))

    def deliver(self, database: Database) -> None:
        """Deliver all ends, each once; an `OSError` after that if a file could not be removed."""
        for path, lane, token, ending in self.kept():
            if path not in self._delivered:
                queue.finish(database, lane, token, ending)
                self._delivered.add(path)
        while self._new:
            queue.finish(database, *self._new[0])
            del self._new[0]
        for path in sorted(self._delivered):
            path.unlink(missing_ok=True)
            self._delivered.remove(path)

    def keep_all(self) -> None:
        """Keep on disk what could not be delivered now."""
        while self._new:
            self.keep(*self._new[0])
            del self._new[0]

    def keep(self, lane: int, token: int, ending: Ending) -> None:
        """Keep an end; the file is whole or not there."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / f"{lane}-{token}.json"
        whole = path.with_suffix(".tmp")
        with whole.open("w") as file:
            json.dump({"lane": lane, "token": token, "ending": asdict(ending)}, file)
            file.flush()
            os.fsync(file.fileno())
        whole.rename(path)

    def kept(self) -> Iterator[tuple[Path, int, int, Ending]]:
        """Each end: its file, lane and token. A file that can't be read is put aside."""
        for path in sorted(self.directory.glob("*.json")):
            try:
                values = json.loads(path.read_bytes())
                ending = dict(values["ending"])
                ending["state"] = LaneState(ending["state"])
                found = path, int(values["lane"]), int(values["token"]), Ending(**ending)
            except (OSError, ValueError, KeyError, TypeError):
                with suppress(OSError):
                    path.rename(path.with_suffix(".damaged"))
                continue
            yield found
