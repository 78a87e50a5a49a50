"""`pikaci image` and `pikaci image build`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.commands import image_import, image_list, image_show
from pikaci.completion import complete_role

if TYPE_CHECKING:
    from pikaci.images import RoleImage
    from pikaci.location import FlakeOptions


@click.group("image")
def image_command() -> None:
    """Build guest images, import them into Incus, and list them.

    \b
    pikaci image import pikaci-runner  build and import the image of a role
    pikaci image list --check          list images, and whether they are current
    pikaci image show pikaci-runner    show what the image of a role has
    """


@image_command.command("build", short_help="Build a role's image.")
@click.argument("role", metavar="ROLE", shell_complete=complete_role)
@click.option(
    "--output",
    metavar="LINK",
    type=click.Path(path_type=Path),
    help="Also create this link to the image, which keeps it in the store.",
)
@options.json_output
@image_import.print_logs_option
@options.flake_options
def build_command(
    role: str, output: Path | None, flake: FlakeOptions, *, as_json: bool, print_logs: bool
) -> None:
    """Build the image of ROLE, and print its directory.

    The directory has metadata.tar.xz, and rootfs.squashfs for a container or disk.qcow2 for a
    virtual machine. The image is kept in the store until the role's next image is built.
    """
    image, path = asyncio.run(_build(role, flake, output, print_logs=print_logs))
    if as_json:
        options.print_json({**vars(image), "directory": str(path)})
    else:
        click.echo(str(path))


async def _build(
    role: str, flake: FlakeOptions, output: Path | None, *, print_logs: bool
) -> tuple[RoleImage, Path]:
    from pikaci.images import build_image, link_image, load_image

    image, placement, nix = await load_image(role, flake, built=True)
    files = await build_image(image, placement, nix, print_logs=print_logs)
    if output and image.debian is not None:
        output.symlink_to(files.metadata.parent)
    elif output:
        await link_image(files.metadata.parent, output, flake.nix)
    return image, files.metadata.parent


image_command.add_command(image_import.import_command)
image_command.add_command(image_list.list_command)
image_command.add_command(image_show.show_command)
