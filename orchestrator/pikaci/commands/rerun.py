"""`pikaci rerun`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import RecordError, UsageError
from jerichoci.snapshot.repository import open_repository
from jerichoci.status import Status
from pikaci import options
from pikaci.commands.run import RunFlags, run_planned
from pikaci.evaluation import Evaluator
from pikaci.location import SourceTree
from pikaci.render.words import is_left_out
from pikaci.sourcing import Planned, flake_reference
from pikaci.work import Work

if TYPE_CHECKING:
    from jerichoci.nix.command import NixOptions
    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import RunRecord
    from jerichoci.record.store import Found, RunStore


@click.command("rerun")
@click.option(
    "--failed",
    is_flag=True,
    help="Rerun only failed jobs, and jobs that did not run because of them.",
)
@options.run_flags
@options.run_id
@options.found_records
@options.nix_flags
def rerun_command(
    store: RunStore,
    found: Found,
    nix: NixOptions,
    *,
    failed: bool,
    **flags: Any,  # noqa: ANN401 - collected into RunFlags
) -> int:
    """Run the plan of RUN again, on the snapshot of RUN. This is a new run with its own record.

    RUN is the latest run by default. Of a batch, all its runs are repeated.

    \b
    pikaci rerun --failed
    """
    from pikaci.render.ci.guard import guard_stderr

    guard_stderr(flags["log_format"])
    return asyncio.run(_rerun(store, found, nix, RunFlags(**flags), failed=failed))


async def _rerun(
    store: RunStore, found: Found, nix: NixOptions, flags: RunFlags, *, failed: bool
) -> int:
    records = [store.load_run_record(run_id) for run_id in found.runs]
    asked = [await _work(store, record, nix, failed=failed) for record in records]
    works = [work for work in asked if work is not None]
    if not works:
        what = f"batch {found.batch}" if found.batch else f"run {found.runs[0]}"
        raise UsageError(f"no job of {what} failed: all that ran passed", "omit --failed")
    return await run_planned(works, nix, flags, is_batch=found.batch is not None)


async def _work(
    store: RunStore, record: RunRecord, nix: NixOptions, *, failed: bool
) -> Work | None:
    """A run again, or what failed of it; None if nothing did."""
    jobs = _failed(record) if failed else _asked_for(record)
    if failed and not jobs:
        return None
    plan = store.load_plan(record.run_id)
    planned = await _recorded(store, record, plan, nix)
    if needed := _needed_again(plan, jobs):
        click.echo(
            f"pikaci: also rerunning {', '.join(needed)}: the selected jobs depend on it", err=True
        )
    return Work(planned, jobs, rerun_of=record.run_id)


def _asked_for(record: RunRecord) -> tuple[str, ...]:
    """The jobs of a partial run; none, which stands for all, of another."""
    return tuple(job.id for job in record.jobs if record.partial and not is_left_out(job))


def _failed(record: RunRecord) -> tuple[str, ...]:
    """What failed, and what did not come to its end because of that or of the run's end."""
    left = [job for job in record.jobs if job.status is not Status.PASSED and not is_left_out(job)]
    return tuple(job.id for job in left)


def _needed_again(plan: Plan, jobs: tuple[str, ...]) -> list[str]:
    """The jobs that run again only because one of `jobs` needs them."""
    closure = plan.closure({node.id for node in plan.jobs if node.job_id in jobs})
    return [n.job_id for n in plan.jobs if n.id in closure and n.job_id not in jobs]


async def _recorded(store: RunStore, record: RunRecord, plan: Plan, nix: NixOptions) -> Planned:
    from jerichoci.run.request import Source

    repository = await open_repository(store.layout.root)
    snapshot, tree = record.snapshot_id or "", record.source_tree or ""
    if not snapshot or not repository.commit_of(snapshot):
        raise RecordError(
            f"the snapshot of run {record.run_id} is gone", "run the target again instead"
        )
    await _check_derivations(store, record, plan, nix)
    source = Source(
        tree=tree,
        snapshot_id=snapshot,
        root=record.source_root,
        rev=record.source_rev,
        flake_dir=record.flake_dir,
        git_head=record.git_head,
        git_dirty=record.git_dirty,
        url=record.source_url,
        overrides=record.overrides,
    )
    root = SourceTree(Path(record.source_root or "."), record.flake_dir or "")
    version = record.tool.nix_version or "unknown"
    return Planned(plan, source, root, store.layout, version)


async def _check_derivations(
    store: RunStore, record: RunRecord, plan: Plan, nix: NixOptions
) -> None:
    """Have the plan's derivations in the store: those that were collected are evaluated again."""
    from jerichoci.plan.plan import NixBuild, parse_plan

    builds = [node.prepare for node in plan.prepares if isinstance(node.prepare, NixBuild)]
    gone = [
        build
        for build in builds
        if not os.path.lexists(build.out_path) and not os.path.lexists(build.drv_path or "")
    ]
    if not gone:
        return
    tree = record.source_tree or ""
    commit = (await open_repository(store.layout.root)).commit_of(tree)
    if commit is None:
        raise RecordError(f"{gone[0].drv_path} was collected, and so was the commit it came from")
    reference = flake_reference(store.layout, tree, commit, record.flake_dir or "")
    again = await Evaluator(store.layout, reference, nix, plan.system).plan(plan.target_id)
    fresh = parse_plan(again.values, f"the plan of target {plan.target_id}")
    made = {n.prepare.drv_path for n in fresh.prepares if isinstance(n.prepare, NixBuild)}
    for build in gone:
        if build.drv_path not in made:
            raise RecordError(
                f"{build.drv_path} was collected and evaluation no longer gives it",
                "an input was overridden then: give the same --override-input, or run anew",
            )
