"""`pikaci targets`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from pikaci import options

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command("targets")
@options.json_output
@options.flake
@options.system
@options.state_root
@options.nix_flags
def command(
    flake: str | None,
    system: str | None,
    state_root: str | None,
    override_inputs: tuple[tuple[str, str], ...],
    settings: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
    offline: bool,
    show_trace: bool,
) -> None:
    """List the targets: id, what starts it, title, jobs."""
    import json

    from pikaci.catalog import load_catalog
    from pikaci.table import table

    nix = options.nix_options(override_inputs, settings, offline, show_trace)
    catalog = asyncio.run(load_catalog(state_root, flake, system, nix))
    if as_json:
        click.echo(json.dumps(catalog["targets"], indent=2, ensure_ascii=False))
        return
    rows = [
        (target["id"], target["trigger"], ",".join(target["jobs"]), _what(target))
        for target in catalog["targets"]
    ]
    click.echo(table(("TARGET", "TRIGGER", "JOBS", "WHAT"), rows))


def _what(target: Mapping[str, Any]) -> str:
    """A target's description; its title if there is none."""
    return str(target["description"] or target["title"] or "")
