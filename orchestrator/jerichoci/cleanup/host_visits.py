"""Which work directories of which hosts may have something of a state root.

The notes tell how each host was reached when a run was there. Since then its settings may have
changed: what was left is where it was then, and is reached as the host is now.
"""

from __future__ import annotations

import logging
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.plan.hosts import (
    LINE_LIMIT_SECS,
    HostCapacity,
    HostConfig,
    HostsFile,
    RemoteHost,
    known_hosts_of_run,
    known_part,
    load_hosts,
)
from jerichoci.plan.rule import ValidationError
from jerichoci.remote.host_notes import HostNote, host_notes, used_hosts
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import is_run_id
from jerichoci.state.natural import natural

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jerichoci.state.layout import StateLayout

LOGGER = logging.getLogger("jerichoci")


@dataclass(frozen=True)
class HostVisit:
    """A work directory of a host to clean, and the notes of the runs that were there.

    `is_current`: the host's settings name it now. `is_last`: they did when it was last used.
    """

    host: RemoteHost
    notes: tuple[HostNote, ...]
    is_current: bool
    is_last: bool

    def __str__(self) -> str:
        where = self.host.config.work_dir or "the default work_dir"
        return self.host.name if self.is_current else f"{self.host.name} ({where})"


def visits(state: StateLayout, only: Collection[str]) -> list[HostVisit]:
    """One visit for each work directory of each host, or of those that are named."""
    file, notes = load_hosts(), _valid_notes(state)
    used = {host.name: host.settings for host in used_hosts(state).all()}
    names = {*file.hosts, *used, *(note.host for note in notes)}
    for name in only:
        if name not in names:
            raise UsageError(
                f"unknown host `{name}`: no run of this state root is on it",
                f"the known ones are {', '.join(sorted(names, key=natural)) or 'none'}",
            )
    return [
        visit
        for name in sorted(set(only) or names, key=natural)
        for visit in _visits_of(
            name, [note for note in notes if note.host == name], used.get(name), file
        )
    ]


def notes_of(host: RemoteHost, state: StateLayout) -> list[HostNote]:
    """The notes of runs that were in the work directory that a host has now."""
    file, here = load_hosts(), _without_job_settings(host)
    mine = [note for note in _valid_notes(state) if note.host == host.name]
    settings = [(note, _settings(note.host, note.settings)) for note in mine]
    return [note for note, then in settings if then and _host_then(here, then, file) == here]


def _visits_of(
    name: str, notes: Sequence[HostNote], used: Mapping[str, Any] | None, file: HostsFile
) -> list[HostVisit]:
    newest = max(notes, key=lambda note: note.run_id).settings if notes else {}
    last_used = _settings(name, newest if used is None else used) or HostConfig()
    # No catalog has `known_hosts`: it is the file's, which may not have it any more.
    known = last_used.with_(known_hosts=None) if name in file.hosts else last_used
    current = _without_job_settings(known_hosts_of_run({name: known}, file)[name])
    last = None if used is None else _host_then(current, known, file)
    places: dict[RemoteHost, list[HostNote]] = {}
    if name in file.hosts:
        places[current] = []
    if last is not None:
        places.setdefault(last, [])
    for note in notes:
        then = _settings(name, note.settings)
        if then is not None:
            places.setdefault(_host_then(current, then, file), []).append(note)
    return [
        HostVisit(host, tuple(mine), host == current, host == last) for host, mine in places.items()
    ]


def _valid_notes(state: StateLayout) -> list[HostNote]:
    return [note for note in host_notes(state).all() if is_run_id(note.run_id)]


def _settings(name: str, noted: Mapping[str, Any]) -> HostConfig | None:
    """A host's settings as they are noted; None if they are invalid."""
    try:
        return HostConfig.model_validate(known_part(HostConfig, noted))
    except ValidationError:
        LOGGER.warning("the noted settings of host %s are invalid", name)
        return None


def _host_then(current: RemoteHost, noted: HostConfig, file: HostsFile) -> RemoteHost:
    """The host as it is reached now, with the work directory that it had then.

    Where only catalogs describe the host, another address may be another machine.
    """
    config = current.config
    has_moved = (noted.address, noted.port) != (config.address, config.port)
    if has_moved and current.name not in file.hosts:
        return _without_job_settings(RemoteHost(current.name, noted))
    then, now = (path and normpath(path) for path in (noted.work_dir, config.work_dir))
    if then == now:
        return current
    return RemoteHost(current.name, config.with_(work_dir=noted.work_dir))


def _without_job_settings(host: RemoteHost) -> RemoteHost:
    config = host.config.with_(labels=(), capacity=HostCapacity(), line_limit_secs=LINE_LIMIT_SECS)
    return RemoteHost(host.name, config)
