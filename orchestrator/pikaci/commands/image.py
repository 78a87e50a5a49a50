"""`pikaci image`."""

from __future__ import annotations

import click

from pikaci.commands import image_build, image_import, image_list


@click.group("image")
def command() -> None:
    """Build guest images, import them into Incus, and list them.

    \b
    pikaci image import pikaci-runner  build and import the image of a role
    pikaci image list --check          list images, and whether they are current
    """


for _part in (image_build, image_import, image_list):
    command.add_command(_part.command)
