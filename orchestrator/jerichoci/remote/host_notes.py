"""Notes of the hosts that runs of a state root are on: `<state_root>/away/<host>--<run id>.json`.

A note is written before a run makes anything on a host, and removed when that is gone. So what
a dead process left can be found and reached. As long as a note names a process that lives, nothing
of its run is removed: a run is on its hosts before it has a directory here.

`away/hosts/<host>.json` has the settings of a host that was used, until nothing is kept there for
later runs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.state import atomic
from jerichoci.state.layout import make_private
from jerichoci.state.owner import Owner, process_start
from jerichoci.state.reading import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.remote.session import Session
    from jerichoci.state.layout import StateLayout

OWNER_LETTERS = 8


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
    def is_alive(self) -> bool:
        """Whether the process still exists that uses the session for the run."""
        return self.pid is not None and Owner(self.pid, self.started).is_alive()


@dataclass(frozen=True)
class HostNotes:
    """All notes of a state root."""

    directory: Path

    def write(self, session: Session, run_id: str) -> None:
        """Note that a run uses the host of a session."""
        make_private(self.directory)
        for other in self.all():
            same = (other.host, other.run_id) == (session.name, run_id)
            if same and other.is_alive and other.session != session.id:
                raise UsageError(
                    f"run {run_id} is on host {session.name} already",
                    "give each run an id of its own",
                )
        me = os.getpid()
        note = HostNote(session.name, run_id, session.id, _settings(session), me, process_start(me))
        atomic.write_json(self._path(session.name, run_id), asdict(note))
        make_private(self._hosts)
        atomic.write_json(self._hosts / f"{session.name}.json", note.settings)

    def leave(self, session: Session, run_id: str, *, ends: bool) -> None:
        """Note that a run is over and left something; `ends` if its session should end."""
        note = HostNote(session.name, run_id, session.id if ends else "", _settings(session))
        atomic.write_json(self._path(session.name, run_id), asdict(note))

    def forget(self, host: str, run_id: str) -> None:
        """Remove a note: nothing of the run is there any more."""
        self._path(host, run_id).unlink(missing_ok=True)

    def all(self) -> Iterator[HostNote]:
        """Every note that can be read."""
        for path in sorted(self.directory.glob("*.json")):
            with suppress(OSError, ValueError, TypeError):
                note = HostNote(**read_object(path))
                texts = (note.host, note.run_id, note.session, note.started or "")
                if (
                    all(isinstance(text, str) for text in texts)
                    and isinstance(note.settings, dict)
                    and (note.pid is None or type(note.pid) is int)
                ):
                    yield note

    def hosts(self) -> dict[str, dict[str, Any]]:
        """The settings that hosts had which were used, by name."""
        found = {}
        for path in sorted(self._hosts.glob("*.json")):
            with suppress(OSError, ValueError):
                found[path.name.removesuffix(".json")] = read_object(path)
        return found

    def forget_host(self, host: str) -> None:
        """Forget how a host was reached: nothing is kept there any more."""
        (self._hosts / f"{host}.json").unlink(missing_ok=True)

    @property
    def _hosts(self) -> Path:
        return self.directory / "hosts"

    def _path(self, host: str, run_id: str) -> Path:
        return self.directory / f"{host}--{run_id}.json"


def _settings(session: Session) -> dict[str, Any]:
    return session.host.config.model_dump(mode="json", exclude_unset=True)


def host_notes(state: StateLayout) -> HostNotes:
    """The notes of a state root."""
    return HostNotes(state.root / "away")


def run_name(state: StateLayout, run_id: str) -> str:
    """What a run's directory is called on a host: runs of other state roots have other names."""
    return f"{run_id}--{state.owner_id()[:OWNER_LETTERS]}"
