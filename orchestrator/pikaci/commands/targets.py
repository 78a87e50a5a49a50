"""`pikaci targets`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from pikaci import options
from pikaci.screen import table
from pikaci.sourcing import load_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pikaci.location import FlakeOptions


@click.command("targets")
@options.json_output
@options.flake_options
def command(flake: FlakeOptions, *, as_json: bool) -> None:
    """List the targets: id, trigger, title, jobs."""
    catalog = asyncio.run(load_catalog(flake))
    if as_json:
        options.print_json(catalog["targets"])
        return
    rows = [
        (target["id"], target["trigger"], ",".join(target["jobs"]), _what(target))
        for target in catalog["targets"]
    ]
    click.echo(table(("TARGET", "TRIGGER", "JOBS", "WHAT"), rows))


def _what(target: Mapping[str, Any]) -> str:
    """A target's description; its title if there is none."""
    return str(target["description"] or target["title"] or "")
