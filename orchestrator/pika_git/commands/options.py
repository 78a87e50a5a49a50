"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from pika_git.data import VARIABLE, DataDir, default_data_dir


def _data_dir(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> DataDir:
    return DataDir(path.absolute()) if path else default_data_dir()


data = click.option(
    "--data",
    metavar="DIR",
    envvar=VARIABLE,
    type=click.Path(path_type=Path, file_okay=False),
    callback=_data_dir,
    help="The forge's directory.  [default: $XDG_STATE_HOME/pika-git]",
)
