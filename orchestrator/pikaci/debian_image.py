"""Guest images made of Debian's packages, on the machine where pikaci runs.

`nix/incus/debian-guest.sh` makes them in the user's cache. The name of one changes with all that it
is made from, so that one which is there, here or in Incus, is not made again.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import InfrastructureError, PikaciError
from jerichoci.exit_codes import EXIT_TEST_FAILURE
from jerichoci.machine.process import run
from pikaci.screen import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPE_SECS = 60.0
BUILD_SECS = 3600.0
"""For some hundred MB of packages over a slow line."""
TAIL_LINES = 20
PACKAGES_FILE = "packages"


class UnmadeImageError(PikaciError):
    """A Debian image could not be made."""

    exit_code = EXIT_TEST_FAILURE


def script() -> Path:
    """The program, of the package, or of the checkout that this module is in."""
    packaged = Path(__file__).with_name("debian") / "nix/incus/debian-guest.sh"
    if packaged.exists():
        return packaged
    return Path(__file__).parents[2] / "nix/incus/debian-guest.sh"


def _argv(debian: Mapping[str, Any], *more: str) -> list[str]:
    packages = " ".join(debian["packages"])
    return ["bash", str(script()), "--suite", debian["suite"], "--packages", packages, *more]


async def recipe(debian: Mapping[str, Any]) -> str:
    """The name of the image that these settings give now; takes milliseconds."""
    done = await run(_argv(debian, "--recipe"), deadline_secs=RECIPE_SECS)
    if not done.ok:
        raise InfrastructureError(f"the recipe of a Debian image is not known: {done.reason()}")
    return done.stdout.decode().strip()


async def build_debian(role: str, debian: Mapping[str, Any], *, print_logs: bool) -> Path:
    """Have the image in the user's cache: its directory."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    told: list[str] = []
    """What apt says that is wrong."""

    def listen(line: bytes) -> None:
        text = shown(line.decode("utf-8", "replace")).removeprefix("bootstrap: ")
        tail.append(text)
        if text.startswith("E: "):
            told.append(text.removeprefix("E: "))
        if print_logs or line.startswith(b"bootstrap: "):
            click.echo(f"pikaci: image {role}: {text}", err=True)

    done = await run(_argv(debian), deadline_secs=BUILD_SECS, listen=listen)
    if done.ok:
        return Path(done.stdout.decode().strip())
    if not print_logs:
        for line in tail:
            click.echo(f"  {role}> {line}", err=True)
    why = next(iter([*told, *list(tail)[-1:]]), done.reason())
    raise UnmadeImageError(
        f"image {role} could not be made: {why}",
        "are all of its `debian.packages` in that suite of Debian? the last lines are above",
    )


def packages_of(directory: Path) -> str | None:
    """What an image has, as its property in Incus says it; None if its files don't say."""
    try:
        lines = (directory / PACKAGES_FILE).read_text().splitlines()
    except OSError:
        return None
    return ";".join(line.strip() for line in lines if line.strip())
