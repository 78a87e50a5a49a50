"""Notes of the hosts that runs of a state root are on: `<state_root>/away/<host>--<run id>.json`.

A note is written before a run makes anything on a host, and removed when that is gone. So whoever
comes after a process that died knows where to look, and how to get there.

What runs leave for later ones isn't theirs: `away/hosts/<host>.json` tells how a host is reached
that was used, until nothing is kept there any more.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jerichoci import atomic
from jerichoci.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.layout import StateLayout
    from jerichoci.ssh.session import Session

OWNER_LETTERS = 8


@dataclass(frozen=True)
class AwayNote:
    """A run, the host it is on, the session that it has there, and the host's settings."""

    host: str
    run_id: str
    session: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class AwayNotes:
    """All notes of a state root."""

    directory: Path

    def write(self, session: Session, run_id: str) -> None:
        """Note that a run goes to the host of a session.

        Raises:
            OSError: the disk is full.
        """
        make_private(self.directory)
        settings = session.host.config.model_dump(mode="json", exclude_unset=True)
        note = AwayNote(session.name, run_id, session.id, settings)
        atomic.write_json(self._path(session.name, run_id), asdict(note))
        make_private(self._hosts)
        atomic.write_json(self._hosts / f"{session.name}.json", settings)

    def forget(self, host: str, run_id: str) -> None:
        """Remove a note: nothing of the run is there any more."""
        self._path(host, run_id).unlink(missing_ok=True)

    def all(self) -> Iterator[AwayNote]:
        """Every note that can be read."""
        for path in sorted(self.directory.glob("*.json")):
            with suppress(OSError, ValueError, TypeError):
                yield AwayNote(**json.loads(path.read_bytes()))

    def hosts(self) -> dict[str, dict[str, Any]]:
        """The settings that hosts had which were used, by name."""
        found = {}
        for path in sorted(self._hosts.glob("*.json")):
            with suppress(OSError, ValueError):
                found[path.name.removesuffix(".json")] = json.loads(path.read_bytes())
        return found

    def forget_host(self, host: str) -> None:
        """Forget how a host was reached: nothing is kept there any more."""
        (self._hosts / f"{host}.json").unlink(missing_ok=True)

    @property
    def _hosts(self) -> Path:
        return self.directory / "hosts"

    def _path(self, host: str, run_id: str) -> Path:
        return self.directory / f"{host}--{run_id}.json"


def away_notes(state: StateLayout) -> AwayNotes:
    """The notes of a state root."""
    return AwayNotes(state.root / "away")


def run_name(state: StateLayout, run_id: str) -> str:
    """What a run's directory is called on a host: runs of other state roots have other names."""
    return f"{run_id}--{state.owner_id()[:OWNER_LETTERS]}"
