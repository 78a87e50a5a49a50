"""`pikaci image import`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.runtime.incus.image import (
    PACKAGES_PROPERTY,
    check_alias,
    import_image,
    prune_images,
    take_image,
)
from jerichoci.runtime.incus.image_files import ImageFiles, files_in, open_image
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout
from pikaci import options
from pikaci.completion import complete_host, complete_role
from pikaci.debian_image import packages_of
from pikaci.location import FlakeOptions, has_flake, some_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jerichoci.nix.command import NixOptions
    from jerichoci.placement import Placement
    from jerichoci.runtime.incus.api import StoredImage
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.runtime.incus.image import Imported
    from pikaci.images import RoleImage

LOCK = "image-import"
LOCK_WAIT_SECS = 3600.0
"""For another process to send an image of some GiB."""
MIB = 2**20

host_option = click.option(
    "--host",
    metavar="NAME",
    shell_complete=complete_host,
    help="Use the Incus of this remote host instead of this machine's.",
)
print_logs_option = click.option(
    "-L", "--print-logs", is_flag=True, help="Print the output of builds."
)


@dataclass(frozen=True)
class Given:
    """What the command line gives of the image itself, and where it goes."""

    files: Callable[[str | None], ImageFiles] | None
    """Reads the files given, for an instance type if that is known."""
    alias: str | None
    host: str | None
    prune: bool
    print_logs: bool


def _given_files(
    directory: Path | None, metadata: Path | None, rootfs: Path | None
) -> Callable[[str | None], ImageFiles] | None:
    if (metadata is None) != (rootfs is None):
        raise UsageError("--metadata and --rootfs belong together", "give both, or --from DIR")
    if directory and metadata:
        raise UsageError("--from and --metadata are two places", "give one of them")
    if metadata and rootfs:
        return partial(open_image, metadata, rootfs)
    return partial(files_in, directory) if directory else None


@click.command("import", short_help="Import a role's image into Incus, built if need be.")
@click.argument("role", metavar="[ROLE]", required=False, shell_complete=complete_role)
@click.option(
    "--from",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Use the image in this directory: metadata.tar.xz, and rootfs.squashfs or disk.qcow2.",
)
@click.option(
    "--metadata",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Metadata tar of the image; needs --rootfs.",
)
@click.option(
    "--rootfs",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Squashfs or qcow2 disk of the image; needs --metadata.",
)
@click.option("--alias", metavar="ALIAS", help="Use this alias instead of the role's.")
@click.option("--prune", is_flag=True, help="Remove the images that had the alias before.")
@host_option
@print_logs_option
@options.flake_options
def import_command(
    role: str | None,
    directory: Path | None,
    metadata: Path | None,
    rootfs: Path | None,
    alias: str | None,
    host: str | None,
    flake: FlakeOptions,
    *,
    prune: bool,
    print_logs: bool,
) -> None:
    """Import the image of ROLE into Incus under the role's alias, and print its fingerprint.

    The image is built on this machine first, which can take long; an image that Incus already has
    is not sent again. --from imports existing image files instead of building; with --alias, that
    needs no role and no flake. The alias's previous image is kept, unless --prune is given.

    \b
    pikaci image import pikaci-runner
    pikaci image import pikaci-runner --from "$(nix/incus/debian-guest.sh)"
    pikaci image import --alias pikaci/dev --from DIR
    pikaci image import pikaci-runner --host build1
    """
    files = _given_files(directory, metadata, rootfs)
    if role is None and not (alias and files):
        raise UsageError(
            "no role is named",
            "`pikaci image list` lists them; without one give --alias and --from DIR",
        )
    if alias is not None:
        check_alias(alias)
    given = Given(files, alias, host, prune, print_logs)
    click.echo(asyncio.run(_import(role, flake, given)).fingerprint)


async def _import(role: str | None, flake: FlakeOptions, given: Given) -> Imported:
    from jerichoci.placement.local import LocalPlacement
    from jerichoci.plan.hosts import local_settings
    from pikaci.images import load_image

    needs_flake = not (given.alias and given.files)
    if role and (needs_flake or flake.directory or has_flake(None)):
        image, here, nix = await load_image(role, flake, built=not given.files)
        return await _bring(given, image, here, nix)
    with some_state(flake.state_root, flake.directory) as state:
        state.make()
        here = LocalPlacement(state.root, flake.nix, local_settings)
        return await _bring(given, None, here, flake.nix)


async def _bring(
    given: Given, image: RoleImage | None, here: Placement, nix: NixOptions
) -> Imported:
    """Import the files given, else what Nix builds for the role."""
    from jerichoci.placement.operations import lock
    from jerichoci.runtime.incus.check import where_of
    from pikaci.images import build_image, build_request

    def say() -> None:
        size, whose = f"{files.size_bytes / MIB:.0f} MiB", where_of(placement).incus
        click.echo(f"pikaci: sending {size} to project {incus.project} of {whose}", err=True)

    alias, drv_path = given.alias or (image.alias if image else ""), None
    async with incus_place(given.host, here, nix) as placement:
        if given.files:
            files = given.files(image.instance_type if image else None)
            incus = await open_project(placement)
        elif image:
            if image.debian is None:
                build_request(image)  # refuses what can't be built before Incus is asked anything
            incus, drv_path = await open_project(placement), image.drv_path
            async with placement.hold(lock, LOCK, LOCK_WAIT_SECS):
                if done := await in_thread(take_image, incus, alias, drv_path):
                    return await _end(done, incus, prune=given.prune)
            files = await build_image(image, here, nix, print_logs=given.print_logs)
        else:
            raise ValueError("neither files nor a role")
        async with placement.hold(lock, LOCK, LOCK_WAIT_SECS):
            done = await in_thread(import_image, incus, files, alias, drv_path, say)
            if packages := packages_of(files.metadata.parent):
                properties = {PACKAGES_PROPERTY: packages}
                await in_thread(incus.set_properties, done.fingerprint, properties)
            return await _end(done, incus, prune=given.prune)


async def _end(done: Imported, incus: Incus, *, prune: bool) -> Imported:
    """Print what was done, and prune."""
    how = "" if done.was_sent else ", which Incus had already"
    instead = f", no longer {done.replaced[:12]}" if done.replaced else ""
    text = f"pikaci: {done.alias} is image {done.fingerprint[:12]}{how}{instead}"
    click.echo(text, err=True)
    if prune:
        removed: list[StoredImage] = await in_thread(prune_images, incus, done.alias)
        for image in removed:
            click.echo(f"pikaci: removed image {image.fingerprint[:12]}", err=True)
    return done


@asynccontextmanager
async def incus_place(
    host: str | None, here: Placement, nix: NixOptions
) -> AsyncIterator[Placement]:
    """The host of that name, connected to while the block runs; `here` if there is no name."""
    if host is None:
        yield here
        return
    from jerichoci.plan.hosts import hosts_file
    from jerichoci.remote.pool import SessionPool
    from jerichoci.run.placements import Placements

    async with SessionPool() as pool:
        remote = Placements(StateLayout(here.state_root), nix, {}, pool).remote()
        there = next((placement for placement in remote if placement.host == host), None)
        if there is None:
            known = ", ".join(placement.host for placement in remote)
            raise UsageError(
                f"no host `{host}` is in {hosts_file()}",
                f"it has {known}" if known else "docs/hosts.md shows how to describe one",
            )
        async with there.visiting(""):
            yield there


async def open_project(placement: Placement) -> Incus:
    """A placement's Incus, with its project."""
    from jerichoci.runtime.incus.check import check_project, check_trust, where_of
    from jerichoci.runtime.incus.client import open_incus

    incus, where = await open_incus(placement), where_of(placement)
    check_trust(await in_thread(incus.server), where)
    await in_thread(check_project, incus, where)
    return incus
