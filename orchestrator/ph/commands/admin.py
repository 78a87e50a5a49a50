"""`ph admin`."""

from __future__ import annotations

import click

from ph import options
from ph.commands.lanes import report
from ph.forge import rows
from ph.screen import ago, print_json, say, table
from ph.server import connect


@click.group("admin")
def admin_command() -> None:
    """Make, list and revoke tokens; read the audit."""


@admin_command.command("token")
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["read", "write", "admin"]), default="write", show_default=True
)
@options.json_output
def token_command(name: str, role: str, *, as_json: bool) -> None:
    """Make a token; it is printed this once."""
    made = connect().post("tokens", name=name, role=role)
    print_json(made) if as_json else say(str(made.get("secret")))


@admin_command.command("tokens")
@options.json_output
def tokens_command(*, as_json: bool) -> None:
    """List the tokens."""
    answer = connect().get("tokens")
    if as_json:
        print_json(answer)
        return
    cells = [
        (
            token.get("id"),
            token.get("role"),
            "revoked" if token.get("revoked_at") else ago(token.get("used_at")) or "never used",
            token.get("name"),
        )
        for token in rows(answer, "tokens")
    ]
    say(table(("ID", "ROLE", "USED", "NAME"), cells))


@admin_command.command("revoke")
@click.argument("token_id", metavar="ID", type=int)
@options.json_output
def revoke_command(token_id: int, *, as_json: bool) -> None:
    """End a token and what was logged in with it."""
    report(connect().delete(f"tokens/{token_id}"), as_json=as_json)


@admin_command.command("audit")
@options.json_output
def audit_command(*, as_json: bool) -> None:
    """Show who did what and why, the newest first."""
    answer = connect().get("audit")
    if as_json:
        print_json(answer)
        return
    cells = [
        (
            ago(each.get("at")),
            each.get("who"),
            each.get("action"),
            each.get("subject"),
            each.get("why"),
        )
        for each in rows(answer, "entries")
    ]
    say(table(("WHEN", "WHO", "ACT", "ON", "WHY"), cells))
