"""How long runs will take yet: by what their nodes took before, and what of them is done.

What ran before is read when a run has taken a moment: many are over sooner.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine.slots import local_capacity
from jerichoci.record.store import RunStore
from pikaci.render import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.state.layout import StateLayout
    from pikaci.estimate import Estimates
    from pikaci.estimate_schedule import Step
    from pikaci.render.progress import Key, Progress

AFTER_SECS = 1.0
"""Before, there is no estimate."""
EACH_SECS = 1.0
"""Between two estimates."""


class Eta:
    """Looks at the progress of runs once a second."""

    def __init__(self, state: StateLayout, progress: Progress) -> None:
        self._store = RunStore(state.root)
        self._progress = progress
        self._estimates: Estimates | None = None
        self._steps: dict[str, list[Step]] = {}
        """Of each run."""
        self._looked = 0.0
        self._left: int | None = None
        self._cpus = local_capacity().cpus

    @property
    def text(self) -> str:
        """`about 40 s left`, or nothing where that is unknown."""
        now = self._progress.clock()
        if now - self._looked >= EACH_SECS and now - self._progress.began >= AFTER_SECS:
            self._looked, self._left = now, self._look(now)
        if self._left is None:
            return ""
        return f"about {words.about(self._left)} left" if self._left else "longer than estimated"

    def _look(self, now: float) -> int | None:
        from pikaci.estimate_schedule import finish_times

        progress, steps = self._progress, self._all_steps()
        wanted = [key for key in list(progress.all) if key not in progress.done]
        left: dict[Key, Step] = {}
        while wanted:
            key = wanted.pop()
            if key not in left and key in steps and not progress.is_done(key):
                left[key] = self._from_now(steps[key], now)
                wanted += steps[key].needs
            elif key not in steps:
                return None
        # What runs already has its CPUs.
        in_order = [left[key] for key in steps if key in left]
        in_order.sort(key=lambda step: step.key not in progress.lines)
        ends = finish_times(in_order, self._cpus)
        known = [end for end in ends.values() if end is not None]
        return max(known, default=0) if len(known) == len(ends) else None

    def _from_now(self, step: Step, now: float) -> Step:
        line = self._progress.lines.get(step.key)
        if line is None or step.ms is None:
            return step
        return replace(step, ms=max(0, step.ms - round((now - line.since) * 1000)))

    def _all_steps(self) -> Mapping[Key, Step]:
        from pikaci.estimate import Estimates
        from pikaci.estimate_schedule import merged

        if self._estimates is None:
            self._estimates = Estimates(self._store)
        for run_id in self._progress.runs:
            if run_id not in self._steps:
                try:
                    plan = self._store.load_plan(run_id)
                    self._steps[run_id] = self._estimates.steps(plan, run_id)
                except (PikaciError, OSError):
                    self._steps[run_id] = []
        return merged(step for steps in self._steps.values() for step in steps)
