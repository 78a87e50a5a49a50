"""`pikaci cache list|clear`: what jobs left for later jobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jerichoci.state.clock import timestamp
from jerichoci.state.dataclass import dataclass
from pikaci import options
from pikaci.screen import one_line

if TYPE_CHECKING:
    from jerichoci.machine.cache_store import CacheEntry
    from jerichoci.record.store import RunStore

MIB = 2**20

_hosts = click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="The caches on this remote host, in place of this machine's (repeatable).",
)


@dataclass(frozen=True)
class _Found:
    """An entry, its host (None for this machine), and whether it was removed."""

    host: str | None
    entry: CacheEntry
    removed: bool = False


@click.group("cache")
def cache_command() -> None:
    """List or clear the caches of jobs, and the kept results of host commands."""


@cache_command.command("list")
@options.json_output
@_hosts
@options.records
def list_command(store: RunStore, hosts: tuple[str, ...], *, as_json: bool) -> None:
    """List the entries of caches, the newest first."""
    found = _look(store, hosts, None)
    if as_json:
        options.print_json([{"host": row.host, **asdict(row.entry)} for row in found])
        return
    if not found:
        click.echo("there are no caches", err=True)
        return
    rows: list[tuple[str, ...]] = [
        ("CACHE", "SCOPE", "KEY", "MIB", "MADE", "RUN", *(["HOST"] if hosts else []))
    ]
    for row in found:
        entry = row.entry
        made = timestamp(entry.created)[:19]
        size = f"{entry.bytes / MIB:.0f}"
        cells = (entry.name, _scope(entry), entry.key[:12], size, made, entry.run_id)
        rows.append((*cells, row.host) if row.host else cells)
    widths = [max(len(texts[column]) for texts in rows) for column in range(len(rows[0]))]
    for texts in rows:
        text = "  ".join(word.ljust(width) for word, width in zip(texts, widths, strict=True))
        click.echo(one_line(text.rstrip()))


def _scope(entry: CacheEntry) -> str:
    from jerichoci.machine.cache_store import PREPARES

    _, _, target = entry.scope.partition("-")
    return "prepares" if entry.scope.endswith(PREPARES) else target or "all"


@cache_command.command("clear")
@click.argument("names", metavar="[CACHE]...", nargs=-1)
@_hosts
@options.records
def clear_command(store: RunStore, names: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    """Remove the entries of these caches, or of all; those that a job has stay."""
    chosen = [row for row in _look(store, hosts, names) if not names or row.entry.name in names]
    kept = sum(not row.removed for row in chosen)
    rest = f"; {kept} are in use" if kept else ""
    click.echo(f"removed {len(chosen) - kept} entries{rest}")


def _look(store: RunStore, hosts: tuple[str, ...], doomed: tuple[str, ...] | None) -> list[_Found]:
    """All entries; those of the caches `doomed` are removed, or all if that is empty."""
    from jerichoci.machine.cache_store import entries, remove

    if not hosts:
        found = entries(store.layout.root)
        _check_names(doomed, found)
        chosen = [entry for entry in found if doomed is not None and _is_in(entry, doomed)]
        gone = {entry.entry for entry in chosen if remove(store.layout.root, entry)}
        return [_Found(None, entry, entry.entry in gone) for entry in found]
    import asyncio

    from jerichoci.cleanup.remote_caches import caches_on

    def is_doomed(entry: CacheEntry) -> bool:
        return doomed is not None and _is_in(entry, doomed)

    rows = asyncio.run(caches_on(store.layout, hosts, is_doomed))
    _check_names(doomed, [entry for _, entry, _ in rows])
    return [_Found(*row) for row in rows]


def _is_in(entry: CacheEntry, names: tuple[str, ...]) -> bool:
    return not names or entry.name in names


def _check_names(names: tuple[str, ...] | None, found: list[CacheEntry]) -> None:
    from jerichoci.errors import UsageError
    from pikaci.nearest import did_you_mean

    known = {entry.name for entry in found}
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, sorted(known)) or "`pikaci cache list` shows them"
            raise UsageError(f"there is no cache {name!r}", hint)
