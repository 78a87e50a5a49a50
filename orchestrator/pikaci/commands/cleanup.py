"""What runs left behind: `pikaci gc` and `reap`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from jerichoci.cleanup.remote import HostCleanup
    from jerichoci.state.layout import StateLayout

MIB = 2**20


@click.command("gc")
@click.option(
    "--keep-runs",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="Keep the newest N finished runs.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed.")
@options.state_and_hosts
def gc_command(
    state: StateLayout, hosts: tuple[str, ...] | None, keep_runs: int, *, dry_run: bool
) -> None:
    """Remove old runs, and the snapshots, git objects and Nix roots that only they need.

    Also removes entries of caches that no job had for 30 days, and the files of jobs whose
    `artifacts.keepDays` are over. Keeps running runs, and all that a kept run needs for a rerun. On
    remote hosts, also removes what the removed runs left behind, and snapshots beyond the host's
    `keep` limits.
    """
    from jerichoci.cleanup.gc import collect_garbage
    from jerichoci.cleanup.remote import collect_hosts

    report = asyncio.run(collect_garbage(state, keep_runs, dry_run=dry_run))
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {len(report.runs)} runs, {len(report.snapshots)} snapshots,"
        f" {len(report.refs)} snapshot refs, {len(report.views)} views of the guests' store;"
        f" kept {report.kept_runs} runs, and what was used within the last hour"
    )
    for name in report.caches:
        click.echo(f"{verb} an entry of the cache {name}")
    for name in report.artifacts:
        click.echo(f"{verb} the artifacts of {name}")
    if hosts is None:
        return
    doomed = report.runs if dry_run else ()
    for cleanup in asyncio.run(collect_hosts(state, hosts, dry_run=dry_run, doomed=doomed)):
        _print_reaped(cleanup)
        _print_collected(cleanup, verb)


def _print_collected(cleanup: HostCleanup, verb: str) -> None:
    """Print what was removed, or would be, of what a host keeps for later."""
    for name in cleanup.doomed_guests:
        click.echo(f"{cleanup.host}: {verb} guest {name}")
    for name in cleanup.doomed_runs:
        click.echo(f"{cleanup.host}: {verb} run {name}")
    if cleanup.problem is None:
        click.echo(
            f"{cleanup.host}: {verb} {len(cleanup.snapshots)} snapshots"
            f" ({cleanup.bytes / MIB:.0f} MiB), {len(cleanup.refs)} snapshot refs,"
            f" {len(cleanup.views)} views of the guests' store, {len(cleanup.agents)} agents;"
            f" kept {cleanup.kept} snapshots"
        )
        for tree in cleanup.snapshots:
            click.echo(f"{cleanup.host}: {verb} snapshot {tree}")
        for name in cleanup.caches:
            click.echo(f"{cleanup.host}: {verb} an entry of the cache {name}")


@click.command("reap")
@options.state_and_hosts
def reap_command(state: StateLayout, hosts: tuple[str, ...] | None) -> None:
    """Record the end of runs whose process died, and remove what they left, also on remote hosts.

    Removes guests that are no longer needed: those of dead runs, and kept guests that have expired.
    """
    from jerichoci.cleanup.gc import reap
    from jerichoci.cleanup.remote import reap_hosts

    reaped = reap(state)
    for run_id in reaped.runs:
        click.echo(f"closed {run_id}")
    for name in reaped.guests:
        click.echo(f"removed guest {name}")
    cleanups = [] if hosts is None else asyncio.run(reap_hosts(state, hosts))
    printed = [_print_reaped(host) for host in cleanups]
    if not reaped.runs and not reaped.guests and not any(printed):
        click.echo("nothing to reap", err=True)


def _print_reaped(cleanup: HostCleanup) -> bool:
    """Print what was removed of dead runs on a host, and problems; whether there was any."""
    rows = [
        *(f"ended session {name}" for name in cleanup.sessions),
        *(f"removed guest {name}" for name in cleanup.guests),
        *(f"removed run {name}" for name in cleanup.runs),
    ]
    for row in rows:
        click.echo(f"{cleanup.host}: {row}")
    for problem in cleanup.problems:
        click.echo(f"pikaci: {cleanup.host}: {problem}", err=True)
    if cleanup.problem is not None:
        click.echo(f"pikaci: could not clean up {cleanup.host}: {cleanup.problem}", err=True)
    return bool(rows or cleanup.problems or cleanup.problem)
