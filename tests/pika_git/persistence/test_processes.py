"""Several processes on one database."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from forge_database import Forge, lane

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import json, sys
from pathlib import Path
from pika_git.data import DataDir
from pika_git.persistence import migrate, queue, workers
from pika_git.persistence.queue import Ending, LaneState

name, directory = sys.argv[1:]
database = migrate.open_current(DataDir(Path(directory)))
worker = workers.register(database, name, name, frozenset(), 3)
print("ready", flush=True)
sys.stdin.readline()
claims, held, idle = [], [], 0
while idle < 200:
    claim = queue.claim(database, worker)
    if claim is not None:
        held.append(claim)
        claims.append([claim.lane_id, claim.pikaci_run_id])
    if held and (claim is None or len(held) == 3):
        done = held.pop(0)
        queue.renew(database, worker, {each.lane_id: (each.token, 1) for each in held})
        assert queue.finish(database, done.lane_id, done.token, Ending(LaneState.SUCCESS))
        queue.sweep(database)
    idle = 0 if claim or held else idle + 1
print(json.dumps(claims))
"""
LANES = 120


def test_four_processes_take_each_lane_once_and_none_is_refused(tmp_path: Path) -> None:
    forge = Forge.in_directory(tmp_path)
    argv = [sys.executable, "-c", WORKER]
    processes = [
        subprocess.Popen(
            [*argv, f"w{n}", str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    groups = ("a", "b", None)
    for n in range(0, LANES, 3):
        lanes = [lane(str(m), group=groups[m]) for m in range(3)]
        forge.push(*lanes, ref=f"refs/heads/{n % 5}")
    outputs = [process.communicate("go\n", timeout=120) for process in processes]

    assert [error for _, error in outputs] == [""] * 4
    claims = [claim for output, _ in outputs for claim in json.loads(output)]
    assert sorted(claim[0] for claim in claims) == list(range(1, LANES + 1))
    assert len({claim[1] for claim in claims}) == LANES
    assert forge.all("SELECT state, count(*) FROM lane GROUP BY state") == [("success", LANES)]
    holds = forge.all("SELECT * FROM group_hold ORDER BY group_name, id")
    for before, after in pairwise(holds):
        assert before.group_name != after.group_name or before.until <= after.since
    assert forge.counters() == {}
