"""Run one plan, as JSON in the only argument says; its events go to stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.machine.confinement import Confinement
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.plan import parse_plan
from jerichoci.record.record import Tool
from jerichoci.run.engine import run_plan
from jerichoci.run.request import RunRequest, Source
from jerichoci.runtime.host_process import ShellCommand
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from jerichoci.record.event import EventBase


class Lines:
    """A line of JSON an event."""

    def emit(self, event: EventBase) -> None:
        sys.stdout.write(event.model_dump_json() + "\n")
        sys.stdout.flush()


async def nothing_to_confine(_placement: LocalPlacement) -> Confinement:
    return Confinement()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    if not asked["namespaces"]:
        setattr(LocalPlacement, "confinement", nothing_to_confine)  # noqa: B010 - mypy has no patches
    (ShellCommand.__init__.__kwdefaults__ or {})["grace_secs"] = asked["grace_secs"]
    state = StateLayout(Path(asked["root"]))
    state.make()
    request = RunRequest(
        plan=parse_plan(json.loads(asked["plan"]), "the plan"),
        source=Source(tree=asked["tree"], snapshot_id=asked["tree"]),
        tool=Tool(version="0"),
        run_id=asked["run_id"],
    )
    asyncio.run(run_plan(state, request, [Lines()]))
