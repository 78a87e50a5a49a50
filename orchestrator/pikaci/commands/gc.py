"""`pikaci gc`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.commands.reap import print_reaped

if TYPE_CHECKING:
    from jerichoci.cleanup.remote import HostCleanup

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
@options.which_hosts
@options.flake
@options.state_root
def command(
    flake: str | None,
    state_root: str | None,
    keep_runs: int,
    hosts: tuple[str, ...],
    *,
    dry_run: bool,
    no_hosts: bool,
) -> None:
    """Remove old runs, and the snapshots, git objects and Nix roots that only they need.

    Keeps running runs, and all that a kept run needs for a rerun. On remote hosts, also removes
    what the removed runs left behind, and snapshots beyond the host's `keep` limits.
    """
    from jerichoci.cleanup.gc import collect_garbage
    from jerichoci.cleanup.remote import check_hosts, collect_hosts
    from pikaci.location import open_state

    state = open_state(state_root, flake)
    state.make()
    if not no_hosts:
        check_hosts(state, hosts)
    report = asyncio.run(collect_garbage(state, keep_runs, dry_run=dry_run))
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {len(report.runs)} runs, {len(report.snapshots)} snapshots,"
        f" {len(report.refs)} snapshot refs, {len(report.views)} views of the guests' store;"
        f" kept {report.kept_runs} runs, and what was used within the last hour"
    )
    if no_hosts:
        return
    doomed = report.runs if dry_run else ()
    for cleanup in asyncio.run(collect_hosts(state, hosts, dry_run=dry_run, doomed=doomed)):
        print_reaped(cleanup)
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
