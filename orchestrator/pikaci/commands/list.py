"""`pikaci list`."""

from __future__ import annotations

import click

from pikaci import options


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@options.json_output
@options.flake
@options.state_root
def command(flake: str | None, state_root: str | None, limit: int, *, as_json: bool) -> None:
    """List the newest runs. A run that can't be read is listed as such."""
    import json

    from pikaci.render.words import between
    from pikaci.table import table

    runs = options.open_store(state_root, flake).list_runs(limit)
    if as_json:
        click.echo(json.dumps([run.as_dict() for run in runs], indent=2, ensure_ascii=False))
        return
    if not runs:
        click.echo("no runs yet; start one with `pikaci run TARGET`", err=True)
        return
    rows = [
        (
            run.run_id,
            run.target_id or "?",
            "unreadable" if run.unreadable else f"{run.status or '?'}{', partial' * run.partial}",
            run.failure_kind or "",
            between(run.created_at, run.finished_at),
            run.unreadable or run.message or "",
        )
        for run in runs
    ]
    click.echo(table(("RUN", "TARGET", "STATUS", "KIND", "TOOK", "MESSAGE"), rows))
