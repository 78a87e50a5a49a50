"""`pikaci image build`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pikaci.images import RoleImage, WantedImage


def complete_role(ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
    """Roles of the catalog that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from jerichoci.errors import PikaciError
    from pikaci.catalog import load_catalog

    try:
        catalog = asyncio.run(load_catalog(ctx.params.get("state_root"), ctx.params.get("flake")))
    except PikaciError:
        return []
    rows = [CompletionItem(image["role"], help=image["alias"]) for image in catalog["images"]]
    return [row for row in rows if str(row.value).startswith(text)]


print_logs_option = click.option(
    "-L", "--print-logs", is_flag=True, help="Print what builders say as it comes."
)


@click.command("build", short_help="Build a role's image with Nix.")
@click.argument("role", metavar="ROLE", shell_complete=complete_role)
@click.option(
    "--output",
    metavar="LINK",
    type=click.Path(path_type=Path),
    help="Make a link to the image here as well, which keeps it in the store.",
)
@options.json_output
@print_logs_option
@options.flake
@options.system
@options.state_root
@options.nix_flags
def command(
    role: str,
    output: Path | None,
    flake: str | None,
    system: str | None,
    state_root: str | None,
    override_inputs: tuple[tuple[str, str], ...],
    settings: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
    print_logs: bool,
    offline: bool,
    show_trace: bool,
) -> None:
    """Build the image of ROLE with Nix, and print the directory that it is in.

    There are metadata.tar.xz, and rootfs.squashfs for containers or disk.qcow2 for virtual
    machines. It stays in the store until the role's next image is built.
    """
    import json

    from pikaci.images import WantedImage

    nix = options.nix_options(override_inputs, settings, offline, show_trace)
    wanted = WantedImage(role, flake, system, state_root, nix, print_logs)
    image, path = asyncio.run(_build(wanted, output))
    values = {**image.as_dict(), "directory": str(path)}
    click.echo(json.dumps(values, indent=2, ensure_ascii=False) if as_json else str(path))


async def _build(wanted: WantedImage, output: Path | None) -> tuple[RoleImage, Path]:
    from pikaci.images import build_image, check_buildable, link_image

    image, placement = await wanted.load(built=True)
    check_buildable(image)
    path = (
        await build_image(image, placement, wanted.nix, print_logs=wanted.print_logs)
    ).metadata.parent
    if output:
        await link_image(path, output, wanted.nix)
    return image, path
