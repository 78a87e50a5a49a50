"""`pikaci lanes`."""

from __future__ import annotations

import click

from jerichoci.errors import CatalogError
from pikaci import options
from pikaci.lanes import lanes_of
from pikaci.location import find_source
from pikaci.screen import table


@click.command("lanes")
@options.json_output
@options.flake
def command(flake: str | None, *, as_json: bool) -> None:
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
            row.id,
            row.trigger,
            row.target,
            row.concurrency_group or "",
            " ".join(row.paths) or "always",
        )
        for row in lanes.lanes
    ]
    click.echo(table(("LANE", "TRIGGER", "TARGET", "GROUP", "PATHS"), cells))
    if any(lane.trigger.value == "nightly" for lane in lanes.lanes):
        click.echo(f"nightly lanes run at {lanes.nightly_schedule_utc} UTC", err=True)
