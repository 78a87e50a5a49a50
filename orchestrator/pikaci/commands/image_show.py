"""`pikaci image show`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import UsageError
from jerichoci.runtime.guest_runner import CONTRACT
from jerichoci.runtime.incus.image import (
    CONTENT_PROPERTY,
    DRV_PROPERTY,
    PACKAGES_PROPERTY,
)
from jerichoci.runtime.incus.thread import in_thread
from pikaci import options
from pikaci.commands.image_import import host_option, incus_place, open_project
from pikaci.completion import complete_role
from pikaci.screen import one_line

if TYPE_CHECKING:
    from jerichoci.runtime.incus.api import StoredImage
    from pikaci.images import RoleImage
    from pikaci.location import FlakeOptions

MIB = 2**20


@click.command("show", short_help="Show what the image of a role has.")
@click.argument("role", metavar="ROLE", shell_complete=complete_role)
@host_option
@options.json_output
@options.flake_options
def show_command(role: str, host: str | None, flake: FlakeOptions, *, as_json: bool) -> None:
    """Show what the image of ROLE is in Incus: what it was built from, and its packages.

    Packages are known of images that are made of Debian's; what a NixOS image has is in the
    closure of its derivation.
    """
    image, stored = asyncio.run(_show(role, host, flake))
    found = _facts(image, stored)
    if as_json:
        options.print_json(found)
        return
    packages = found.pop("packages")
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(
            one_line(f"{name.replace('_', ' '):<{width}}  {'-' if value is None else value}")
        )
    if packages:
        click.echo(f"{'packages':<{width}}  {len(packages)}")
        for name, version in packages.items():
            click.echo(one_line(f"  {name} {version}"))


async def _show(role: str, host: str | None, flake: FlakeOptions) -> tuple[RoleImage, StoredImage]:
    from pikaci.images import load_image

    image, here, nix = await load_image(role, flake, built=False)
    async with incus_place(host, here, nix) as placement:
        incus = await open_project(placement)
        stored: StoredImage | None = await in_thread(incus.image, image.alias)
    if stored is None:
        raise UsageError(
            f"Incus has no image {image.alias} for role {role}", f"`pikaci image import {role}`"
        )
    return image, stored


def _facts(image: RoleImage, stored: StoredImage) -> dict[str, Any]:
    properties = stored.properties
    rows = (row.split(" ", 1) for row in properties.get(PACKAGES_PROPERTY, "").split(";") if row)
    return {
        "role": image.role,
        "alias": image.alias,
        "instance_type": image.instance_type,
        "fingerprint": stored.fingerprint,
        "size_mib": round(stored.size_bytes / MIB, 1),
        "architecture": stored.architecture,
        "imported_at": stored.uploaded_at,
        "built_from": properties.get(DRV_PROPERTY) or properties.get(CONTENT_PROPERTY),
        "runner_contract": CONTRACT,
        "packages": {row[0]: row[1] for row in rows if len(row) > 1},
    }
