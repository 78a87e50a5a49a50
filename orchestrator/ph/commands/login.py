"""`ph login` and `ph whoami`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ph import options
from ph.screen import print_json, say
from ph.server import RETRY_SECS, Server, connect
from ph.settings import Login, checked_token, keep_login, normal_url

if TYPE_CHECKING:
    from io import TextIOWrapper


@click.command("login")
@click.argument("url")
@click.option("--token-file", type=click.File(), help="Read the token there, instead of asking.")
@options.json_output
def login_command(url: str, token_file: TextIOWrapper | None, *, as_json: bool) -> None:
    """Check a token with the server at URL and keep both, readable for you alone.

    The token is asked for, or read from stdin. `ph admin token` makes tokens; the first one is
    made by `pika-git token` on the forge's machine.
    """
    login = Login(normal_url(url), checked_token(_token(token_file)))
    who = Server(login, RETRY_SECS).get("whoami")
    path = keep_login(login)
    if as_json:
        print_json({**who, "config": str(path)})
        return
    say(f"{_name(who)} at {login.url}; kept in {path}")


@click.command("whoami")
@options.json_output
def whoami_command(*, as_json: bool) -> None:
    """Show who the server takes you for, and what you may do."""
    server = connect()
    who = server.get("whoami")
    if as_json:
        print_json(who)
    else:
        say(f"{_name(who)} at {server.url}")


def _name(who: dict[str, object]) -> str:
    return f"{who.get('name') or who.get('token') or 'a token'}, role {who.get('role')}"


def _token(file: TextIOWrapper | None) -> str:
    if file is not None:
        return file.read()
    if sys.stdin.isatty():
        entered: str = click.prompt("token", hide_input=True, err=True)
        return entered
    return sys.stdin.readline()
