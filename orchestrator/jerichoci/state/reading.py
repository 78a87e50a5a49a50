"""Reading what others may have damaged: a record that is no record is one error, whatever is wrong.

Nothing here waits (a FIFO may have a record's name) or takes more memory than a record needs.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from jerichoci.state.ids import is_id
from jerichoci.status import Outcome, Status

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.state.layout import RunLayout

MOST_BYTES = 128 * 1024 * 1024
"""More than the record of 10,000 jobs has."""
MOST_LEVELS = 50
"""So deep may values nest; records have ten levels, and what is deeper can't be written again."""


def open_file(path: Path | str, flags: int = 0) -> int:
    """Open a regular file to read."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "this is no file", str(path))
    return fd


def read_file(path: Path) -> bytes:
    """All bytes of a regular file."""
    with os.fdopen(open_file(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read(MOST_BYTES)


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object, which can be written again."""
    try:
        values = _DECODER.decode(data.decode())
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if not isinstance(values, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 - as for what is no JSON
    level: list[Any] = [values]
    for _ in range(MOST_LEVELS):
        level = [value for row in level for value in _inner(row)]
    if level:
        raise ValueError("it nests too deep")
    if b"\\ud" in data.lower():
        # Half of a pair can't be encoded, which is what raises here.
        json.dumps(values, ensure_ascii=False).encode()
    return values


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    return parse(read_file(path))


def rows(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in a list of a record."""
    found = values.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def read_run(run: RunLayout) -> dict[str, Any]:
    """A run as it stands. While it runs, run.json has its beginning and status.json each job."""
    values = read_object(run.record)
    if values.get("status") == Status.RUNNING:
        jobs = [_as_it_stands(run, row) for row in rows(values, "jobs")]
        values = {**values, "jobs": jobs}
    return values


def prepare_timings(run: RunLayout) -> list[dict[str, Any]]:
    """What the events of a run say of its prepares, as its terminal record will have it."""
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = read_file(run.events).splitlines()
    except OSError:
        return []
    for line in lines:
        if b'"prepare_' not in line:
            continue
        try:
            event = parse(line)
        except ValueError:
            continue
        node, at = event.get("node_id"), event.get("ts")
        if event.get("event") == "prepare_started" and isinstance(node, str):
            found[node] = {
                "node_id": node,
                "prepare_id": event.get("prepare_id"),
                "started_at": at,
                "outcome": Outcome.STARTED,
            }
        elif event.get("event") == "prepare_finished" and node in found:
            rest = {key: event.get(key) for key in ("outcome", "cached", "duration_ms")}
            found[node] |= {**rest, "finished_at": at}
    return list(found.values())


def _as_it_stands(run: RunLayout, job: dict[str, Any]) -> dict[str, Any]:
    name = job.get("id")
    if not isinstance(name, str) or not is_id(name):
        return job
    try:
        values = read_object(run.status(name))
    except (OSError, ValueError):
        return job
    return values if values.get("id") == name else job


def _inner(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
