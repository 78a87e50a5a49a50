"""Plans run by the engine, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.project import wait_for
from jerichoci.record.record import JobRecord, RunRecord, Tool
from jerichoci.run.engine import run_plan, run_plans
from jerichoci.run.request import RunRequest, Source
from jerichoci.state.owner import is_owned
from plans import RUN_ID, plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.plan.plan import ExecuteNode, Image, PrepareNode
    from jerichoci.record.journal import Sink
    from jerichoci.state.layout import RunLayout, StateLayout

BATCH_ID = "20260131T235959Z-ba7c0000"
SCRIPT = Path(__file__).with_name("engine_process.py")
ORCHESTRATOR = Path(__file__).parents[1] / "orchestrator"


@dataclass(frozen=True)
class Ended:
    """A run that is over: its record and its directory."""

    layout: RunLayout
    record: RunRecord

    def job(self, name: str) -> JobRecord:
        return next(job for job in self.record.jobs if job.id == name)

    def log(self, name: str, attempt: int = 1) -> str:
        """What the job printed and what the host did for it."""
        return (self.layout.attempt(name, attempt) / "host.log").read_text()

    def said(self, name: str, attempt: int = 1) -> list[str]:
        """The lines that the job printed."""
        return [row for row in self.log(name, attempt).splitlines() if "> " not in row]


def kill_owner(process: subprocess.Popen[bytes], run: RunLayout) -> None:
    """Kill the process that runs a run, and all that it has begun to start: a child that has not
    come to its program yet holds the run's lock as well.
    """
    process.kill()
    process.wait()
    wait_for(lambda: not is_owned(run.root))


@dataclass(frozen=True)
class Runner:
    """Runs plans on one snapshot below one state root."""

    state: StateLayout
    tree: str

    @property
    def snapshot(self) -> Path:
        return self.state.snapshots / self.tree

    async def run(
        self,
        *nodes: PrepareNode | ExecuteNode,
        images: Sequence[Image] = (),
        sinks: Sequence[Sink] = (),
        **request: Any,  # noqa: ANN401 - fields of the request
    ) -> Ended:
        """Run a plan of these nodes to its end."""
        source = Source(tree=self.tree, snapshot_id=self.tree)
        made = plan(*nodes).with_(images=list(images))
        asked = RunRequest(plan=made, source=source, tool=Tool(version="0"), **request)
        record = await run_plan(self.state, asked, sinks)
        return Ended(self.state.run(record.run_id), record)

    async def run_batch(
        self,
        *targets: Sequence[PrepareNode | ExecuteNode],
        sinks: Sequence[Sink] = (),
        run_ids: Sequence[str | None] = (),
        **request: Any,  # noqa: ANN401 - fields of the requests
    ) -> list[Ended]:
        """Run plans beside each other, that of the nodes of `target-0` and so on."""
        source, tool = Source(tree=self.tree, snapshot_id=self.tree), Tool(version="0")
        plans = [plan(*nodes, target=f"target-{n}") for n, nodes in enumerate(targets)]
        same: dict[str, Any] = {"source": source, "tool": tool, "batch": BATCH_ID, **request}
        requests = [
            RunRequest(plan=made, run_id=run_id, **same)
            for made, run_id in zip(plans, run_ids or [None] * len(plans), strict=True)
        ]
        records = await run_plans(self.state, requests, sinks)
        return [Ended(self.state.run(record.run_id), record) for record in records]

    def start(
        self,
        *nodes: PrepareNode | ExecuteNode,
        images: Sequence[Image] = (),
        run_id: str = RUN_ID,
        prefix: Sequence[str] = (),
        namespaces: bool = True,
        grace_secs: float = 10.0,
        env: Mapping[str, str] | None = None,
        **streams: Any,  # noqa: ANN401 - as Popen has them
    ) -> subprocess.Popen[bytes]:
        """Run a plan in a process of its own."""
        asked = {
            "root": str(self.state.root),
            "tree": self.tree,
            "run_id": run_id,
            "plan": json.dumps(plan(*nodes).with_(images=list(images)).dump()),
            "namespaces": namespaces,
            "grace_secs": grace_secs,
        }
        python_path = {"PYTHONPATH": f"{ORCHESTRATOR}{os.pathsep}{SCRIPT.parent}"}
        return subprocess.Popen(
            [*prefix, sys.executable, str(SCRIPT), json.dumps(asked)],
            env={**os.environ, **python_path, **(env or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams},
        )

    def ended(self, run_id: str = RUN_ID) -> Ended:
        """A run as its records have it."""
        layout = self.state.run(run_id)
        return Ended(layout, RunRecord.model_validate_json(layout.record.read_bytes()))
