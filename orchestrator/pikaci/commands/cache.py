"""`pikaci cache list|clear`: what jobs left for later jobs on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jerichoci.state.clock import timestamp
from pikaci import options
from pikaci.screen import one_line

if TYPE_CHECKING:
    from jerichoci.machine.cache_store import CacheEntry
    from jerichoci.record.store import RunStore

MIB = 2**20


@click.group("cache")
def cache_command() -> None:
    """List or clear the caches of jobs on this machine."""


@cache_command.command("list")
@options.json_output
@options.records
def list_command(store: RunStore, *, as_json: bool) -> None:
    """List the entries of caches, the newest first."""
    from jerichoci.machine.cache_store import PREPARES

    found = _entries(store, None)
    if as_json:
        options.print_json([asdict(entry) for entry in found])
        return
    if not found:
        click.echo("there are no caches", err=True)
        return
    rows = [("CACHE", "SCOPE", "KEY", "MIB", "MADE", "RUN")]
    for entry in found:
        _, _, part = entry.scope.partition("-")
        scope = "prepares" if entry.scope.endswith(PREPARES) else part or "all"
        made = timestamp(entry.created)[:19]
        size = f"{entry.bytes / MIB:.0f}"
        rows.append((entry.name, scope, entry.key[:12], size, made, entry.run_id))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        text = "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
        click.echo(one_line(text.rstrip()))


@cache_command.command("clear")
@click.argument("names", metavar="[CACHE]...", nargs=-1)
@options.records
def clear_command(store: RunStore, names: tuple[str, ...]) -> None:
    """Remove the entries of these caches, or of all; those that a job has stay."""
    from jerichoci.machine.cache_store import remove

    found = _entries(store, names or None)
    removed = [entry for entry in found if remove(store.layout.root, entry)]
    kept = len(found) - len(removed)
    rest = f"; {kept} are in use" if kept else ""
    click.echo(f"removed {len(removed)} entries{rest}")


def _entries(store: RunStore, names: tuple[str, ...] | None) -> list[CacheEntry]:
    from jerichoci.errors import UsageError
    from jerichoci.machine.cache_store import entries
    from pikaci.nearest import did_you_mean

    found = entries(store.layout.root)
    known = {entry.name for entry in found}
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, sorted(known)) or "`pikaci cache list` shows them"
            raise UsageError(f"there is no cache {name!r}", hint)
    return [entry for entry in found if names is None or entry.name in names]
