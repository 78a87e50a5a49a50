"""Removing the files of jobs that are to be kept for some days only: `artifacts.keepDays`.

The records stay, with the paths, sizes and digests of the files.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jerichoci.cleanup.dead_runs import logging_errors
from jerichoci.state.reading import read_object
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jerichoci.state.layout import RunLayout

DAY_SECS = 24 * 3600


def remove_old_artifacts(runs: Iterable[RunLayout], *, dry_run: bool) -> list[str]:
    """Remove what is kept no longer of these runs, which are over: each as `RUN/JOB`."""
    removed = []
    for run in runs:
        for job_id in _expired(run):
            name = f"{run.run_id}/{job_id}"
            directories = list(run.job(job_id).glob("attempts/*/artifacts/files"))
            if directories and not dry_run:
                with logging_errors(f"the artifacts of {name} can't be removed"):
                    for directory in directories:
                        remove_tree(directory)
            if directories:
                removed.append(name)
    return removed


def _expired(run: RunLayout) -> Iterator[str]:
    """The ids of a run's jobs whose files have been kept for long enough."""
    try:
        finished = read_object(run.record).get("finished_at")
        nodes = read_object(run.plan).get("nodes")
        over = datetime.fromisoformat(str(finished)).timestamp()
    except (OSError, ValueError):
        return
    for node in nodes if isinstance(nodes, list) else ():
        days = _keep_days(node)
        if days is not None and time.time() - over > days * DAY_SECS:
            yield str(node["job_id"])


def _keep_days(node: Any) -> int | None:  # noqa: ANN401 - of a record that may be damaged
    match node:
        case {"job_id": str(), "execute": {"artifacts": {"keep_days": int(days)}}}:
            return days
        case _:
            return None
