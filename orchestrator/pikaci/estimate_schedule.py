"""When steps that need each other are done: a run as it would go on a machine with so many CPUs."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Key = tuple[str, str]


@dataclass(frozen=True)
class Step:
    """A node of a plan. `ms` is what it takes, None if unknown; with 0 `cpus` it never waits."""

    key: Key
    needs: frozenset[Key]
    ms: int | None
    cpus: int = 0


def merged(steps: Iterable[Step]) -> dict[Key, Step]:
    """Steps of several plans by key: of one that they share, the first whose time is known."""
    found: dict[Key, Step] = {}
    for step in steps:
        if step.key not in found or found[step.key].ms is None:
            found[step.key] = step
    return found


def finish_times(
    steps: Sequence[Step], cpus: int, most: int | None = None
) -> dict[Key, int | None]:
    """When each step ends, in milliseconds from now; None where something before it is unknown.

    Steps begin in their order, as soon as what they need is done and their CPUs are free; `most`
    limits how many of those with CPUs run at a time. What isn't among the steps is done.
    """
    left = {step.key: set(step.needs) for step in steps}
    ready = [step for step in steps if not left[step.key] & left.keys()]
    followers = _followers(steps, left)
    ends: dict[Key, int | None] = {}
    running: list[tuple[int, int, Step]] = []
    unknown: set[Key] = set()
    now, free, room = 0, cpus, most if most is not None else len(steps)
    light = sum(not step.cpus for step in ready)  # those that begin at once
    while ready or running:
        waiting = []
        for place, step in enumerate(ready):
            if not (free and room) and not light:
                waiting += ready[place:]
                break
            wanted = min(step.cpus, cpus)
            if wanted and (wanted > free or not room):
                waiting.append(step)
                continue
            free, room, light = free - wanted, room - bool(wanted), light - (not wanted)
            if step.ms is None:
                unknown.add(step.key)
            heappush(running, (now + (step.ms or 0), len(ends) + len(running), step))
        ready = waiting
        now, _, done = heappop(running)
        free, room = free + min(done.cpus, cpus), room + bool(done.cpus)
        ends[done.key] = None if done.key in unknown else now
        for step in followers.get(done.key, []):
            if done.key in unknown:
                unknown.add(step.key)
            left[step.key].discard(done.key)
            if not left[step.key]:
                ready.append(step)
                light += not step.cpus
    return ends


def _followers(steps: Sequence[Step], left: dict[Key, set[Key]]) -> dict[Key, list[Step]]:
    """Who waits for a step; what isn't among the steps is taken out of what is `left`."""
    found: dict[Key, list[Step]] = {}
    for step in steps:
        left[step.key] &= left.keys()
        for needed in left[step.key]:
            found.setdefault(needed, []).append(step)
    return found
