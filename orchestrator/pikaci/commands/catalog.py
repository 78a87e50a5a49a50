"""What is in the repository: `pikaci targets`, `lanes` and `select`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import click

from jerichoci.errors import CatalogError
from pikaci import options
from pikaci.lanes import Trigger, lanes_of
from pikaci.location import LANES_FILE, FlakeOptions, SourceTree, find_source
from pikaci.screen import table


@click.command("targets")
@options.json_output
@options.flake_options
def targets_command(flake: FlakeOptions, *, as_json: bool) -> None:
    """List the targets: id, trigger, title, jobs."""
    print_targets(flake, as_json=as_json)


def print_targets(flake: FlakeOptions, *, as_json: bool = False, err: bool = False) -> None:
    """Print the targets of a flake; on stderr where they are no answer."""
    import asyncio

    from pikaci.sourcing import load_catalog

    targets = asyncio.run(load_catalog(flake))["targets"]
    if as_json:
        options.print_json(targets)
        return
    rows = [
        (
            target["id"],
            target["trigger"],
            ",".join(target["jobs"]),
            target["description"] or target["title"] or "",
        )
        for target in targets
    ]
    click.echo(table(("TARGET", "TRIGGER", "JOBS", "WHAT"), rows), err=err)


@click.command("lanes")
@options.json_output
@options.flake
def lanes_command(flake: str | None, *, as_json: bool) -> None:
    """List the lanes of ci/forge-lanes.toml: which targets CI runs, when, for which changes."""
    source = find_source(flake)
    lanes = lanes_of(source)
    if lanes is None:
        raise CatalogError(f"there is no {source.lanes_file}", "lanes are optional; write one")
    if as_json:
        options.print_json([lane.as_dict() for lane in lanes.lanes])
        return
    cells = [
        (
            lane.id,
            lane.trigger,
            lane.target,
            lane.concurrency_group or "",
            " ".join(lane.paths) or "always",
        )
        for lane in lanes.lanes
    ]
    click.echo(table(("LANE", "TRIGGER", "TARGET", "GROUP", "PATHS"), cells))
    if any(lane.trigger is Trigger.NIGHTLY for lane in lanes.lanes):
        click.echo(f"nightly lanes run at {lanes.nightly_schedule_utc} UTC", err=True)


@click.command("select")
@click.option("--base", required=True, metavar="REV", help="Start of the change.")
@click.option("--head", required=True, metavar="REV", help="End of the change; has the lanes.")
@click.option("--lanes-of", metavar="REV", help="Take the lanes of this commit instead.")
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A repository without a work tree; its flake is at the top, or at --flake-dir.",
)
@click.option("--flake-dir", default="", metavar="DIR", help="Where it is in --repository.")
@options.json_output
@options.flake
def select_command(
    base: str,
    head: str,
    lanes_of: str | None,
    repository: Path | None,
    flake_dir: str,
    flake: str | None,
    *,
    as_json: bool,
) -> None:
    """Show which lanes a change selects, and why each lane is or is not selected.

    The change is what HEAD added since it branched off BASE (git's BASE...HEAD).

    \b
    pikaci select --base origin/main --head HEAD
    """
    import asyncio

    from pikaci.selection import select_change

    source = find_source(flake) if repository is None else SourceTree(repository, flake_dir)
    lanes = str(PurePosixPath(source.flake_dir) / LANES_FILE)
    report = asyncio.run(select_change(source.root, base, head, lanes, lanes_of))
    if as_json:
        options.print_json(report.as_dict())
    else:
        click.echo(report.as_text())
