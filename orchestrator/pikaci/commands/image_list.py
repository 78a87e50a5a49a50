"""`pikaci image list`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import CatalogError
from jerichoci.runtime.incus.image import ALIAS_PROPERTY, CONTENT_PROPERTY, DRV_PROPERTY
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.state.dataclass import dataclass
from pikaci import options
from pikaci.commands.image_import import host_option, incus_place, open_project
from pikaci.debian_image import recipe
from pikaci.location import FlakeOptions, has_flake, state_home
from pikaci.screen import table
from pikaci.sourcing import open_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jerichoci.runtime.incus.api import StoredImage
    from jerichoci.runtime.incus.client import Incus
    from pikaci.evaluation import Evaluator
    from pikaci.images import RoleImage

MIB = 2**20


@dataclass(frozen=True)
class Row:
    """An image that a role asks for, or another one of the project."""

    alias: str | None
    role: str | None
    instance_type: str
    image: StoredImage | None
    current: str = "unknown"
    """Whether it is what the flake would build now: `yes`, `no` or `unknown`."""

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON: what there is of it on one host is the same on another."""
        image = self.image
        properties: Mapping[str, str] = image.properties if image else {}
        return {
            "alias": self.alias,
            "role": self.role,
            "instance_type": self.instance_type,
            "fingerprint": image.fingerprint if image else None,
            "size_bytes": image.size_bytes if image else None,
            "architecture": image.architecture if image else None,
            "imported_at": image.uploaded_at if image else None,
            "drv_path": properties.get(DRV_PROPERTY),
            "content": properties.get(CONTENT_PROPERTY),
            "last_alias": properties.get(ALIAS_PROPERTY),
            "current": self.current,
        }


@click.command("list", short_help="List the images of roles and of Incus.")
@click.option(
    "--check",
    is_flag=True,
    help="Check whether images are current; evaluates the flake, which may need nixpkgs.",
)
@host_option
@options.json_output
@options.flake_options
def list_command(host: str | None, flake: FlakeOptions, *, check: bool, as_json: bool) -> None:
    """List the images of the catalog's roles, and all other images in pikaci's Incus project.

    CURRENT shows whether an image is what the flake would build now; it needs --check.
    Hosts that show the same drv_path or content with --json have the same image.
    """
    rows = asyncio.run(_list(host, flake, check=check))
    if as_json:
        options.print_json([row.as_dict() for row in rows])
    elif rows:
        click.echo(as_table(rows))
    else:
        click.echo("no images yet; `pikaci image import` brings one to Incus", err=True)


async def _list(host: str | None, flake: FlakeOptions, *, check: bool) -> list[Row]:
    from jerichoci.placement.local import LocalPlacement
    from jerichoci.plan.hosts import local_settings
    from pikaci.images import read_image

    evaluator: Evaluator | None = None
    roles: list[RoleImage] = []
    if flake.directory or check or has_flake(None):
        evaluator = await open_tree(flake, read_only=True)
        catalog = await evaluator.catalog()
        roles = [read_image(row, catalog.system) for row in catalog.values["images"]]
    # Outside a flake there is no state root, and nothing is asked of it.
    root = evaluator.state.root if evaluator else state_home()
    here = LocalPlacement(root, flake.nix, local_settings)
    async with incus_place(host, here, flake.nix) as placement:
        incus: Incus = await open_project(placement)
        images: list[StoredImage] = await in_thread(incus.images)
    drvs = await _drvs(evaluator, roles) if evaluator and check else {}
    return rows_of(roles, images, drvs)


async def _drvs(evaluator: Evaluator, roles: Sequence[RoleImage]) -> dict[str, str]:
    """What the flake would build now, by role; prints why where that is not known."""
    found = {}
    for image in roles:
        try:
            values = (await evaluator.image(image.role, built=True)).values
            drv_path = values.get("drv_path")
            if values.get("debian"):
                drv_path = await recipe(values["debian"])
        except CatalogError as error:
            click.echo(f"pikaci: image {image.role}: {error}", err=True)
        else:
            if drv_path:
                found[image.role] = drv_path
    return found


def rows_of(
    roles: Sequence[RoleImage], images: Sequence[StoredImage], drvs: Mapping[str, str]
) -> list[Row]:
    """A row for each role, then one for each other alias, and for each image without one."""
    by_alias = {alias: image for image in images for alias in image.aliases}
    listed = [_role_row(role, by_alias.get(role.alias), drvs.get(role.role)) for role in roles]
    others = _other_rows(images, {role.alias for role in roles})
    return listed + sorted(others, key=lambda row: (row.alias or "~", row.as_dict()["imported_at"]))


def _role_row(role: RoleImage, image: StoredImage | None, drv: str | None) -> Row:
    current = "unknown"
    if image is None or _instance_type(image) != role.instance_type:
        current = "no"
    elif drv:
        current = "yes" if image.properties.get(DRV_PROPERTY) == drv else "no"
    return Row(role.alias, role.role, role.instance_type, image, current)


def _other_rows(images: Sequence[StoredImage], known: set[str]) -> Iterator[Row]:
    for image in images:
        for alias in image.aliases or (None,):
            if alias not in known:
                yield Row(alias, None, _instance_type(image), image)


def _instance_type(image: StoredImage) -> str:
    return "virtual-machine" if image.is_vm else "container"


def as_table(rows: Sequence[Row]) -> str:
    """Rows for people."""
    head = ("ALIAS", "ROLE", "TYPE", "FINGERPRINT", "SIZE", "IMPORTED", "CURRENT", "BUILT FROM")
    return table(head, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    values, image = row.as_dict(), row.image
    last = values["last_alias"]
    alias = row.alias or (f"(was {last})" if last else "-")
    if image is None:
        return (alias, row.role or "", row.instance_type, "missing", "", "", row.current, "")
    size, imported = f"{image.size_bytes / MIB:.0f} MiB", _minute(image.uploaded_at)
    own = (_instance_type(image), image.fingerprint[:12], size, imported)
    return (alias, row.role or "", *own, row.current, _origin(values))


def _minute(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


def _origin(values: Mapping[str, Any]) -> str:
    if values["drv_path"]:
        return PurePath(values["drv_path"]).name.removesuffix(".drv")
    return f"files {values['content'][:12]}" if values["content"] else "?"
