"""Images on hosts. One is known by its alias, and by what it was built from.

That is the property `user.pikaci.drv`, a derivation, or for images that Nix didn't build
`user.pikaci.content`, the hash of its files. What a host has already is recognised by it and isn't
sent again.

The image comes first, then one request makes its alias name it, so the alias exists at every
moment. What the alias named before is kept until it is pruned: guests may be starting from it.
(Running guests need no image.) Properties have a request of their own:
given with the import, they bring down an incusd (6.0) whose image has none in itself.

Everything here blocks.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.runtime.incus.api import IncusError, MissingError, StoredImage, UnreachableError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.runtime.incus.client import Incus
    from jerichoci.runtime.incus.image_files import ImageFiles

DRV_PROPERTY = "user.pikaci.drv"
CONTENT_PROPERTY = "user.pikaci.content"
PACKAGES_PROPERTY = "user.pikaci.packages"
"""Of a Debian image: what it has, `NAME VERSION` with `;` between them."""
ALIAS_PROPERTY = "user.pikaci.alias"
"""The alias that an image has, or had until another one got it."""
ALIAS_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
ATTEMPTS = 3
"""Another process may remove an image between two requests of ours; hardly twice in a row."""


@dataclass(frozen=True)
class Imported:
    """An image that an alias names now."""

    fingerprint: str
    alias: str
    was_sent: bool
    """Whether the host didn't have it."""
    replaced: str | None
    """The fingerprint of what the alias named before, if that was another image."""


def take_image(incus: Incus, alias: str, drv_path: str) -> Imported | None:
    """Have an alias name the image that a derivation built, if the host has one."""
    for _ in range(ATTEMPTS):
        built = (row for row in incus.images() if row.properties.get(DRV_PROPERTY) == drv_path)
        found = next(built, None)
        if found is None:
            return None
        if done := _turn(incus, alias, found, {}, was_sent=False):
            return done
    return None


def import_image(
    incus: Incus,
    files: ImageFiles,
    alias: str,
    drv_path: str | None = None,
    sending: Callable[[], None] = lambda: None,
) -> Imported:
    """Have an alias name the image in two files, which a derivation built if `drv_path` says so.

    `sending` is called before it is sent to the host, which is not done if the host has it.
    """
    content = files.fingerprint()
    built_from = {DRV_PROPERTY: drv_path} if drv_path else {CONTENT_PROPERTY: content}
    for _ in range(ATTEMPTS):
        image, was_sent = _with(incus, content), False
        if image is None:
            sending()
            was_sent = _send(incus, files, content)
            image = _with(incus, content)
        if image and (done := _turn(incus, alias, image, built_from, was_sent=was_sent)):
            return done
    raise IncusError(
        f"image {content[:12]} was removed each time that it was imported",
        "does another program remove images of this project?",
    )


def prune_images(incus: Incus, alias: str) -> list[StoredImage]:
    """Remove the images that had an alias until another one got it; those that are removed now."""
    removed = []
    for image in incus.images():
        is_old = not image.aliases and image.properties.get(ALIAS_PROPERTY) == alias
        if is_old and is_ours(image):
            with suppress(MissingError):
                incus.delete_image(image.fingerprint)
                removed.append(image)
    return removed


def check_alias(text: str) -> str:
    """An alias, spelled as catalogs may spell one."""
    if not ALIAS_PATTERN.fullmatch(text):
        raise UsageError(
            f"{text!r} is not an alias",
            "it has letters, digits, ., _, - and /, a letter or digit first",
        )
    return text


def is_ours(image: StoredImage) -> bool:
    """Whether pikaci imported an image, or its NixOS module did."""
    return DRV_PROPERTY in image.properties or CONTENT_PROPERTY in image.properties


def _send(incus: Incus, files: ImageFiles, content: str) -> bool:
    """Import an image; False if another process did meanwhile."""
    try:
        incus.import_image(files.metadata, files.rootfs, is_vm=files.kind.is_vm)
    except UnreachableError:
        raise
    except IncusError as error:
        if _with(incus, content):
            return False
        why = error.message.removeprefix("Incus: ")
        raise IncusError(
            f"Incus doesn't take the image {files.rootfs}: {why}",
            "is there room where Incus keeps its images?",
        ) from error
    return True


def _turn(
    incus: Incus, alias: str, image: StoredImage, built_from: dict[str, str], *, was_sent: bool
) -> Imported | None:
    """Make an alias name an image; None if the image was removed meanwhile."""
    try:
        _label(incus, image, {**built_from, ALIAS_PROPERTY: alias})
        before = incus.image(alias)
        if before and before.fingerprint == image.fingerprint:
            return Imported(image.fingerprint, alias, was_sent, replaced=None)
        if before and is_ours(before):
            _label(incus, before, {ALIAS_PROPERTY: alias})
        incus.point_alias(alias, image.fingerprint)
    except MissingError:
        return None
    return Imported(image.fingerprint, alias, was_sent, before.fingerprint if before else None)


def _label(incus: Incus, image: StoredImage, properties: dict[str, str]) -> None:
    if not properties.items() <= image.properties.items():
        incus.set_properties(image.fingerprint, properties)


def _with(incus: Incus, fingerprint: str) -> StoredImage | None:
    return next((row for row in incus.images() if row.fingerprint == fingerprint), None)
