"""`pikaci prepared-outputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.screen import table

if TYPE_CHECKING:
    from jerichoci.record.record import PreparedOutput
    from jerichoci.record.store import RunStore

STEP = 1024
"""Bytes in a KiB, and so on."""


@click.command("prepared-outputs")
@options.json_output
@options.run_records
def command(store: RunStore, run: str, *, as_json: bool) -> None:
    """Show what RUN built for its jobs, on which hosts, and where."""
    record = store.load_prepared_outputs(run)
    if as_json:
        click.echo(record.model_dump_json(indent=2))
        return
    rows = [cells for row in record.outputs for cells in _rows(row)]
    click.echo(table(("NODE", "HOST", "OUTCOME", "HOW", "MOVED", "PATH"), rows))


def _rows(output: PreparedOutput) -> list[tuple[str, ...]]:
    """One line for each host that needed it; at least one."""
    from jerichoci.record.record import PreparedPlace

    own = {"outcome": output.outcome, "path": output.path, "cause": output.cause}
    places = output.places or [PreparedPlace(host="", **own)]
    return [
        (
            output.node_id if number == 0 else "",
            place.host or "-",
            str(place.outcome),
            place.how or "-",
            _size(place.bytes_moved),
            place.path or (place.cause.message if place.cause else "-"),
        )
        for number, place in enumerate(places)
    ]


def _size(count: int) -> str:
    """A number of bytes for people."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < STEP:
            break
        size, unit = size / STEP, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B" if count else "-"
