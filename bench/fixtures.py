"""What benches work on: a checkout that nobody changes meanwhile, and state roots full of runs."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from paired import PIKACI, ROOT

if TYPE_CHECKING:
    from pathlib import Path


def checkout(into: Path) -> Path:
    """A clone of this repository."""
    subprocess.run(["git", "clone", "--quiet", ROOT, into], check=True)
    return into


def one_run(tree: Path, state: Path, target: str = "hello") -> Path:
    """Run a target; the run's directory."""
    subprocess.run(
        [PIKACI, "run", target, "--state-root", state], cwd=tree, check=True, capture_output=True
    )
    return max((state / "runs").iterdir())


def many_runs(run: Path, state: Path, count: int) -> Path:
    """A state root with `count` runs that have the records of `run`, a minute apart."""
    record = json.loads((run / "run.json").read_bytes())
    started = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(count):
        at = started + timedelta(minutes=number)
        run_id = f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        copy = state / "runs" / run_id
        copy.mkdir(parents=True)
        values = {**record, "run_id": run_id, "created_at": f"{at:%Y-%m-%dT%H:%M:%S}.000Z"}
        (copy / "run.json").write_text(json.dumps(values, indent=1))
        for name in ("plan.json", "prepared-outputs.json", "events.jsonl", "owner.lock"):
            shutil.copyfile(run / name, copy / name)
    return state
