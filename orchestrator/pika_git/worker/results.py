"""Ends that could not be delivered: kept on disk until the database takes or refuses them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pika_git.persistence.queue import Ending, LaneState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Results:
    """The undelivered ends in a directory, a file each."""

    directory: Path

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
                path.rename(path.with_suffix(".damaged"))
                continue
            yield found
