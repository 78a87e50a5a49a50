"""Batches: the runs that one command started, as `<state_root>/batches/<batch id>.json` has them.

The file is there before the first of the runs is. A run of it may be missing: it never began, or
`gc` has removed it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state import atomic
from jerichoci.state.clock import timestamp
from jerichoci.state.ids import is_run_id
from jerichoci.state.layout import make_private, unwritable
from jerichoci.state.reading import read_object, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.state.layout import StateLayout

BATCH_SCHEMA_VERSION = 1


def write_batch(state: StateLayout, batch_id: str, targets: Mapping[str, str]) -> None:
    """Record that a batch has the runs `targets`, by their ids, in this order."""
    path = state.batch(batch_id)
    temp = path.with_name(f"{path.name}{atomic.TEMP_MARK}{os.getpid()}")
    values = {
        "schema_version": BATCH_SCHEMA_VERSION,
        "batch": batch_id,
        "created_at": timestamp(),
        "runs": [{"run_id": run_id, "target_id": name} for run_id, name in targets.items()],
    }
    hint = "leave --run-id out, or give another"
    if state.run(batch_id).root.exists():
        raise UsageError(f"run {batch_id} exists already", hint)
    try:
        make_private(state.batches)
        atomic.write_bytes(temp, json.dumps(values, indent=1).encode() + b"\n")
        try:
            os.link(temp, path)
        finally:
            temp.unlink()
    except FileExistsError:
        raise UsageError(f"batch {batch_id} exists already", hint) from None
    except OSError as error:
        raise unwritable(f"the batch can't be recorded in {path}", error) from error


def batch_ids(state: StateLayout) -> list[str]:
    """The ids of the batches."""
    try:
        names = os.listdir(state.batches)  # noqa: PTH208 - there may be many
    except FileNotFoundError:
        return []
    return [name.removesuffix(".json") for name in names if is_run_id(name.removesuffix(".json"))]


def targets_of(state: StateLayout, batch_id: str) -> dict[str, str]:
    """The targets of a batch's runs, by their ids; none of a file that can't be read."""
    with suppress(OSError, ValueError):
        found = rows(read_object(state.batch(batch_id)), "runs")
        runs = {str(row.get("run_id")): str(row.get("target_id")) for row in found}
        return {run_id: target for run_id, target in runs.items() if is_run_id(run_id)}
    return {}


def runs_of(state: StateLayout, batch_id: str) -> list[str]:
    """The ids of a batch's runs that are there, in its order."""
    return [name for name in targets_of(state, batch_id) if state.run(name).root.is_dir()]
