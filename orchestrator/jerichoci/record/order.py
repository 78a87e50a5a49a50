"""The order in which the runs of a state root were made: `<state_root>/order`, an id a line.

Clocks are wrong at times, and run ids have theirs. When the file is made, the runs that are there
already come first, by their ids. A run that isn't in it was copied here, or its line was lost: it
comes after those with smaller ids.

A line is appended while the names of runs are held shared, and `renew` holds them alone: no line is
lost.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from jerichoci.state import atomic
from jerichoci.state.ids import is_run_id
from jerichoci.state.owner import holding_names
from jerichoci.state.reading import read_file

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout


def append(state: StateLayout, run_id: str) -> None:
    """Note that a run is the newest; where that can't be noted it is made all the same."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):
        fd = os.open(state.order, flags, 0o600)
        try:
            # The line before may have been cut off by a full disk.
            os.write(fd, f"\n{run_id}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)


def run_ids(state: StateLayout, limit: int | None = None) -> list[str]:
    """Ids of the runs that were made last, the newest first; all, if `limit` is None."""
    try:
        names = [name for name in os.listdir(state.runs) if is_run_id(name)]  # noqa: PTH208 - Path.iterdir makes 50,000 objects
    except FileNotFoundError:
        return []
    try:
        lines = read_file(state.order).decode("ascii", "replace").split()
    except OSError:
        lines = []
    place = {run_id: number for number, run_id in enumerate(lines)}
    known = sorted(place)
    last = list(accumulate((place[run_id] for run_id in known), max, initial=-1))

    def key(run_id: str) -> tuple[int, str]:
        number = place.get(run_id)
        # After all that are smaller: the id of one of those is smaller than this one.
        return last[bisect_left(known, run_id)] if number is None else number, run_id

    if limit is None:
        return sorted(names, key=key, reverse=True)
    return heapq.nlargest(limit, names, key=key)


def renew(state: StateLayout) -> None:
    """Write the file anew, without the runs that are gone."""
    with holding_names(state) as held:
        if held:
            lines = reversed(run_ids(state))
            atomic.write_bytes(state.order, "".join(f"{line}\n" for line in lines).encode())
