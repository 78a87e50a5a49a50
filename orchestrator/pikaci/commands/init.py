"""`pikaci init`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from pikaci.languages import LANGUAGES
from pikaci.own_flake import own_url
from pikaci.start import FLAKE, find_language, given_url, lines_to_add, start


@click.command("init")
@click.argument("language", type=click.Choice(LANGUAGES), required=False)
@click.option(
    "--pikaci-url",
    metavar="URL",
    help="Where pikaci's flake is: a URL such as git+https://HOST/pikaci, or a directory."
    "  [default: where this pikaci came from]",
)
def init_command(language: str | None, pikaci_url: str | None) -> None:
    """Write a flake with a target into the current directory.

    LANGUAGE decides what the target, `check`, does; by default, the files in the directory tell.
    Existing files are left as they are. If there is a flake.nix, the lines to add to it are
    printed instead.
    """
    here = Path.cwd()
    url = own_url() if pikaci_url is None else given_url(pikaci_url)
    language = language or find_language(here)
    started = start(here, language, url)
    if started.written:
        _say(f"wrote {', '.join(started.written)}" + (f", for {language}" if language else ""))
    if started.kept:
        _say(f"left as it was: {', '.join(started.kept)}")
    is_new = FLAKE in started.written
    is_done = not is_new and _names_pikaci(here / FLAKE)
    if not is_done:
        if not url.elsewhere:
            _say(
                f"{url.text} is on this machine only: before others use this repository,"
                " set inputs.pikaci.url to where they find pikaci"
            )
        if not is_new:
            _say("add to flake.nix:")
            click.echo(lines_to_add(url))
    _say("next:")
    _say("  pikaci run check")
    if not (here / "flake.lock").exists() or not is_done:
        _say(f"  {_lock(here)}    # pins pikaci")


def _names_pikaci(flake: Path) -> bool:
    with suppress(OSError):
        return b"pikaci" in flake.read_bytes()
    return False


def _lock(here: Path) -> str:
    """How to pin pikaci. Unlike pikaci, Nix sees only files that git tracks."""
    if any((place / ".git").exists() for place in (here, *here.parents)):
        return "git add flake.nix ci && nix flake lock && git add flake.lock"
    return "nix flake lock"


def _say(line: str) -> None:
    click.echo(line, err=True)
