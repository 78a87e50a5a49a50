"""`pikaci shell`."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from jerichoci.store import RunStore


@click.command("shell")
@options.run_argument
@click.argument("job", metavar="JOB", shell_complete=options.complete_job)
@options.flake
@options.state_root
def command(run: str, job: str, flake: str | None, state_root: str | None) -> int:
    """Open a shell in the workspace that RUN kept of JOB, with the job's environment.

    A run keeps workspaces with `--keep on-failure` or `--keep always`.
    """
    store = options.open_store(state_root, flake)
    return asyncio.run(_shell(store, store.resolve(run), job))


async def _shell(store: RunStore, run_id: str, job_id: str) -> int:
    from jerichoci.confinement import probe
    from jerichoci.environment import job_environment
    from jerichoci.errors import UsageError
    from jerichoci.nix import NixOptions
    from jerichoci.placement import open_placement
    from jerichoci.workspace import Workspace

    record = store.load_run_record(run_id)
    node = next((n for n in store.load_plan(run_id).jobs if n.job_id == job_id), None)
    job = next((row for row in record.jobs if row.id == job_id), None)
    if node is None or job is None:
        known = ", ".join(row.id for row in record.jobs)
        raise UsageError(f"run {run_id} has no job {job_id!r}", f"it has {known}")
    layout = store.run(run_id)
    workspace = Workspace(layout.scratch / f"{job_id}-{job.attempt}")
    if not workspace.mount.is_dir():
        raise UsageError(
            f"run {run_id} kept no workspace of job {job_id}",
            f"`pikaci rerun {run_id} --keep always` does",
        )
    placement = open_placement(node.placement, store.layout.root, NixOptions())
    confinement = await probe(placement, store.layout.slots / f"probe-{os.getpid()}")
    argv = confinement.shell_argv(
        Path(record.snapshot_dir or "").relative_to(store.layout.root),
        Workspace(workspace.root.relative_to(store.layout.root)),
        str(job.execution.get("workspace")),
        prompt=f"{job_id}$ ",
    )
    outputs = store.load_prepared_outputs(run_id).outputs
    inputs = {row.node_id: Path(row.path) for row in outputs if row.path}
    artifacts = layout.attempt(job_id, job.attempt) / "artifacts" / "files"
    env = job_environment(node.execute, inputs, artifacts)
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    done = subprocess.run(argv, cwd=store.layout.root, env=env | terminal, check=False)  # noqa: ASYNC221 - the shell has the terminal, there is nothing else to do
    return done.returncode
