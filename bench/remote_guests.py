"""A no-op job in a guest of a host that ssh reaches, against the same in a guest of this machine's.

Both are in one process, by turns, with the connection open, the snapshot there and the image
unpacked. The host is this machine behind an sshd of its own, so what is more is the way there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from incus_place import is_possible
from paired import ROOT, Pair, at_most_more, line, workshop, yes

from jerichoci.machine.system import own_system
from jerichoci.plan.plan import Execute, ExecuteNode, Image, Plan
from jerichoci.record.record import RunRecord, Tool
from jerichoci.remote.pool import SessionPool
from jerichoci.run.engine import run_plan
from jerichoci.run.request import RunRequest, Source
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "runner"
LIMIT_MS = 200
LINE_MS = 50.0
"""Of the slow line, in one direction."""
MOST_TRIPS = 6
GONE_POLL_SECS = 0.01
HERE, THERE = "here", "there"


@dataclass(frozen=True)
class Place:
    """A state root, and an Incus that this machine and the host both have."""

    state: StateLayout
    tree: str
    alias: str
    host: str
    client: list[str]

    async def run(self, where: str, pool: SessionPool) -> tuple[float, RunRecord]:
        """Run the job here or there; the milliseconds that took, and its record."""
        placed: Any = {"placement": "local", "placement_config": {}}
        if where == THERE:
            placed = {"placement": "remote_ssh", "placement_config": {"host": self.host}}
        job = ExecuteNode(
            id="execute-job",
            job_id="job",
            runtime="incus",
            runtime_config={"role": ROLE, "network": None},
            execute=Execute(command="true", timeout_secs=60),
            **placed,
        )
        image = Image(role=ROLE, alias=self.alias, instance_type="container")
        plan = Plan(target_id="bench", system=own_system(), nodes=[job], images=[image])
        source = Source(tree=self.tree, snapshot_id=self.tree)
        asked = RunRequest(plan=plan, source=source, tool=Tool(version="0"))
        begun = time.perf_counter()
        record = await run_plan(self.state, asked, [], pool=pool)
        took = (time.perf_counter() - begun) * 1000
        if record.status is not Status.PASSED:
            raise SystemExit(record.jobs[0].cause)
        return took, record

    def gone(self) -> None:
        """Wait until no instance is left."""
        while subprocess.run(self.client, check=True, capture_output=True).stdout:
            time.sleep(GONE_POLL_SECS)


@contextmanager
def place(delay_ms: float) -> Iterator[Place]:
    """All of that; `delay_ms` is how long the way to the host takes, in one direction."""
    from incus.server import private_incus
    from remote.far_host import one_far_host
    from remote.wire import Wire

    with ExitStack() as stack:
        server = stack.enter_context(private_incus())
        host = stack.enter_context(one_far_host())
        directory = stack.enter_context(workshop())
        where = {}
        if delay_ms:
            wire = stack.enter_context(Wire(host.address, host.port, delay_secs=delay_ms / 1000))
            where = {"address": wire.address, "port": wire.port}
        config = directory / "config" / "pikaci" / "hosts.toml"
        config.parent.mkdir(parents=True)
        config.write_text(host.hosts_toml(incus={"socket": str(server.socket)}, **where))
        os.environ["XDG_CONFIG_HOME"] = str(directory / "config")
        os.environ |= server.environment
        os.environ["INCUS_CONF"] = str(directory / "client")
        os.environ["INCUS_PROJECT"] = server.project
        tree = directory / "tree"
        tree.mkdir()
        (tree / "README").write_text(secrets.token_hex(8))
        for argv in (["init", "--quiet"], ["add", "."]):
            subprocess.run(["git", *argv], cwd=tree, check=True)
        state = StateLayout(directory / "state")
        state.make()
        snapshot = asyncio.run(take_snapshot(state.root, tree)).tree
        client = ["incus", "list", "--format=csv", "--columns=n"]
        yield Place(state, snapshot, server.image_alias, host.name, client)


async def measure(here: Place, rounds: int, delay_ms: float) -> None:
    """Print the row, and on stderr where the time goes."""
    found: dict[str, list[float]] = {HERE: [], THERE: []}
    phases: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in found}
    async with SessionPool() as pool:
        for number in range(rounds + 1):
            for where, row in found.items():
                took, record = await here.run(where, pool)
                await asyncio.to_thread(here.gone)
                if number:
                    row.append(took)
                    _note(phases[where], record)
    for name in phases[HERE]:
        figures = " ".join(f"{where} {median(phases[where][name]):.0f}" for where in found)
        print(f"{name}: {figures} ms", file=sys.stderr)
    pair = Pair(median(found[HERE]), median(found[THERE]))
    floor = "the same in a guest of this machine's"
    if not delay_ms:
        work = "no-op job in a guest of a host that ssh reaches, connected"
        print(at_most_more(work, floor, pair, LIMIT_MS), flush=True)
        return
    trips = pair.extra_ms / (2 * delay_ms)
    work = f"that job on a line of {2 * delay_ms:g} ms: round trips"
    times = (f"{pair.floor_ms:.0f}", f"{pair.subject_ms:.0f}", f"{trips:.1f}")
    print(line((work, floor, *times, f"{MOST_TRIPS}", yes(met=trips <= MOST_TRIPS))), flush=True)


def _note(phases: dict[str, list[int]], record: RunRecord) -> None:
    (job,) = record.jobs
    for phase in job.phases:
        phases[phase.phase].append(phase.duration_ms or 0)
    for name in ("create_ms", "ready_ms"):
        phases[name].append(job.attempts[-1].execution[name])


def main() -> None:
    """Print the row."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=15)
    flags.add_argument("--delay-ms", type=float, help="of the way, in one direction; no other")
    chosen = flags.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    if not is_possible():
        return
    for delay_ms in (0.0, LINE_MS) if chosen.delay_ms is None else (chosen.delay_ms,):
        with place(delay_ms) as here:
            asyncio.run(measure(here, chosen.rounds, delay_ms))


if __name__ == "__main__":
    main()
