"""`pikaci image`."""

from __future__ import annotations

import click

from pikaci.commands import image_build, image_import, image_list


@click.group("image")
def command() -> None:
    """Images of guests: build them, import them into Incus, list what is there.

    \b
    pikaci image import pikaci-runner  import a role's image, built if need be
    pikaci image list --check          what Incus has, and whether the flake still builds it
    """


for _part in (image_build, image_import, image_list):
    command.add_command(_part.command)
