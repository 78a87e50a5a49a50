"""Images of the catalog: what a role's is, and having Nix build it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import InfrastructureError, PikaciError, TimedOutError, UsageError
from jerichoci.exit_codes import EXIT_TEST_FAILURE
from jerichoci.machine.stop import Stop
from jerichoci.nix import command as nix
from jerichoci.nix.realised import Activity, BuildRequest, Realised
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.hosts import local_settings
from jerichoci.runtime.incus.image_files import ImageFiles, files_in
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_id
from jerichoci.state.layout import make_private
from jerichoci.status import FailureKind
from pikaci.screen import shown
from pikaci.sourcing import open_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.nix.command import NixOptions
    from jerichoci.placement import Placement
    from pikaci.location import FlakeOptions

BUILD_SECS = 24 * 3600
"""An image of a whole system, on a machine that has nothing of it yet."""
STILL_BUILDING_SECS = 15.0
"""Between two lines that a build is still running."""
TAIL_LINES = 20
ROOTS = "images"
"""Below the state root, a directory a role: what keeps its image from Nix's collector."""


class UnbuiltImageError(PikaciError):
    """An image's builder failed."""

    exit_code = EXIT_TEST_FAILURE


@dataclass(frozen=True)
class RoleImage:
    """A role's image as the catalog has it; with its derivation, if that was asked for."""

    role: str
    alias: str
    instance_type: str
    system: str
    drv_path: str | None = None
    """What it is built from: a derivation, or the recipe of a Debian image."""
    out_path: str | None = None
    debian: Mapping[str, Any] | None = None
    """The `packages` and the `suite` of an image that is made of Debian's packages."""


async def load_image(
    role: str, flake: FlakeOptions, *, built: bool
) -> tuple[RoleImage, Placement, NixOptions]:
    """A role's image in the working tree's catalog; where to build it, and with which settings.

    The settings are those asked for, and the flake's.
    """
    from pikaci.flake_config import with_flake_config

    check_id(role, "role")
    evaluator = await open_tree(flake, read_only=not built)
    found = await evaluator.image(role, built=built)
    root, nix = evaluator.state.root, flake.nix
    options = await with_flake_config(root, evaluator.reference, nix) if built else nix
    image = read_image(found.values, found.system)
    if image.debian is not None:
        from pikaci.debian_image import recipe

        image = replace(image, drv_path=await recipe(image.debian))
    return image, LocalPlacement(root, nix, local_settings), options


def read_image(row: Mapping[str, Any], system: str) -> RoleImage:
    """An image from Nix's answer."""
    names = ("role", "alias", "instance_type", "drv_path", "out_path", "debian")
    values: dict[str, Any] = {name: row.get(name) for name in names}
    return RoleImage(system=system, **values)


def build_request(image: RoleImage) -> BuildRequest:
    """How Nix builds an image; a UsageError if it does not."""
    if image.drv_path and image.out_path:
        return BuildRequest(
            installable=f"{image.drv_path}^out",
            drv_path=image.drv_path,
            out_path=image.out_path,
            timeout_secs=BUILD_SECS,
        )
    if not image.system.endswith("-linux"):
        raise UsageError(
            f"images are not built for {image.system}", "say --system, such as x86_64-linux"
        )
    if image.debian is not None:
        raise ValueError("Nix builds no Debian image")
    raise UsageError(
        f"image {image.role} has no package in the catalog that builds it",
        f"give it one, or import one that is made already:"
        f" `pikaci image import {image.role} --from DIR`",
    )


async def build_image(
    image: RoleImage, placement: Placement, nix: NixOptions, *, print_logs: bool
) -> ImageFiles:
    """Have an image in the store, kept from Nix's collector until the role's next one is built.

    A Debian image is in the user's cache.
    """
    if image.debian is not None:
        from pikaci.debian_image import build_debian

        directory = await build_debian(image.role, image.debian, print_logs=print_logs)
        return files_in(directory, image.instance_type)
    from jerichoci.nix.realise import Realiser

    builds = {image.role: build_request(image)}
    roots = placement.state_root / ROOTS / image.role
    make_private(roots)
    progress = _Progress(image.role, print_logs=print_logs)
    reporting = asyncio.ensure_future(progress.report())
    try:
        await Realiser(nix, builds, roots, progress, placement.confinement).run(Stop())
    finally:
        reporting.cancel()
    path = Path(progress.path())
    for link in roots.iterdir():
        if link.readlink() != path:
            link.unlink()
    try:
        return files_in(path, image.instance_type)
    except UsageError as error:
        raise UsageError(
            f"the package of image {image.role} is no image: {error.message}",
            "it must be a directory as `incus-image-container` of pikaci's flake is",
        ) from error


async def link_image(path: Path, link: Path, options: NixOptions) -> None:
    """Have a link to a built image that keeps it from Nix's collector."""
    from jerichoci.machine import process

    argv = options.root_argv([str(path)], str(link))
    done = await process.run(argv, deadline_secs=nix.QUERY_DEADLINE_SECS)
    if not done.ok:
        raise InfrastructureError(f"{link} can't be made: {done.reason()}")


class _Progress:
    """Prints how a build goes."""

    def __init__(self, role: str, *, print_logs: bool) -> None:
        self._role = role
        self._print_logs = print_logs
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._started: float | None = None
        self._result: Realised | None = None

    def log(self, node_id: str, line: str) -> None:
        """A builder printed a line."""
        self._tail.append(shown(line))
        if self._print_logs:
            click.echo(f"  {node_id}> {self._tail[-1]}", err=True)

    def building(self, node_id: str) -> None:
        """The build starts."""
        self._started = time.monotonic()
        click.echo(f"pikaci: building image {node_id}", err=True)

    def active(self, activity: Activity) -> None:
        """Nix does something else."""

    def finished(self, node_id: str, result: Realised) -> None:
        """The image exists, or its build failed."""
        if self._started and result.ok:
            took = time.monotonic() - self._started
            click.echo(f"pikaci: image {node_id} is built, {took:.0f} s", err=True)
        self._result = result

    async def report(self) -> None:
        """Print now and then that the build is still running."""
        while True:
            await asyncio.sleep(STILL_BUILDING_SECS)
            if self._started and not self._print_logs:
                took = time.monotonic() - self._started
                last = f": {self._tail[-1]}" if self._tail else ""
                click.echo(f"pikaci: building for {took:.0f} s{last}", err=True)

    def path(self) -> str:
        """Where the image is."""
        result = self._result
        if result is not None and result.path is not None:
            return result.path
        if result is None or result.fault is None:
            raise InfrastructureError(f"image {self._role} was not built")
        if not self._print_logs:
            for line in self._tail:
                click.echo(f"  {self._role}> {line}", err=True)
        # The engine knows what it realises as prepares.
        message = result.fault.message.replace("prepare ", "image ", 1)
        if result.failure_kind is FailureKind.TIMEOUT:
            raise TimedOutError(message, result.fault.hint)
        if result.failure_kind is FailureKind.TEST_FAILURE:
            hint = "the last output of its builder is above; --print-logs prints all of it"
            raise UnbuiltImageError(message, hint)
        hint = nix.advice(message) or "`pikaci doctor` checks whether Nix works here"
        raise InfrastructureError(message, hint)
