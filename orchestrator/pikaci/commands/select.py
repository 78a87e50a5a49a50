"""`pikaci select`."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

import click

from pikaci import options
from pikaci.location import LANES_FILE, find_source
from pikaci.selection import select_change


@click.command("select")
@click.option("--base", required=True, metavar="REV", help="Start of the change.")
@click.option("--head", required=True, metavar="REV", help="End of the change; has the lanes.")
@options.json_output
@options.flake
def command(base: str, head: str, flake: str | None, *, as_json: bool) -> None:
    """Show which lanes a change selects, and why each lane is or is not selected.

    The change is what HEAD added since it branched off BASE (git's BASE...HEAD).

    \b
    pikaci select --base origin/main --head HEAD
    """
    source = find_source(flake)
    lanes = str(PurePosixPath(source.flake_dir) / LANES_FILE)
    report = asyncio.run(select_change(source.root, base, head, lanes))
    if as_json:
        options.print_json(report.as_dict())
    else:
        click.echo(report.as_text())
