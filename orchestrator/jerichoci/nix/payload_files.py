"""The files behind a payload manifest, on the host that has the prepared output.

`payload` says what a manifest may say; here is what an output must have for it to be true. Needs
nothing but the standard library, since it is done where the output is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST = "share/pikaci/payload-manifest.json"
MANIFEST_LIMIT_BYTES = 2**20
"""A manifest is names and paths: what is longer isn't one."""


class PayloadError(UsageError):
    """A prepared output's manifest is wrong."""


def load_manifest(output: Path) -> bytes | None:
    """The manifest of a prepared output as it is, or None if it has none."""
    if not os.path.lexists(output / MANIFEST):
        return None
    _find(output, MANIFEST, "", "file")
    try:
        with (output / MANIFEST).open("rb") as file:
            data = file.read(MANIFEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise wrong_manifest(f"can't be read ({error.strerror})") from error
    if len(data) > MANIFEST_LIMIT_BYTES:
        raise wrong_manifest(f"is longer than {MANIFEST_LIMIT_BYTES} bytes")
    return data


def check_content(output: Path, named: Iterable[tuple[str, str, str]]) -> None:
    """See that an output has what its manifest names: what it is, its path, and its kind."""
    for what, path, kind in named:
        _find(output, path, what, kind)


def wrong_manifest(what: str, hint: str | None = None) -> PayloadError:
    """What to raise for a manifest that is wrong."""
    return PayloadError(f"{MANIFEST} {what}", hint)


def _find(output: Path, path: str, what: str, kind: str) -> None:
    """See that `path` of the output leads to something that fits, and doesn't leave the output."""
    subject = f"names the {what} {path!r}, which " if what else ""
    try:
        root = os.path.realpath(output, strict=True)
        place = os.path.realpath(output / path, strict=True)
        mode = Path(place).stat().st_mode
    except OSError as error:
        raise wrong_manifest(f"{subject}can't be found ({error.strerror})") from error
    if place != root and not place.startswith(f"{root}/"):
        raise wrong_manifest(
            f"{subject}leads out of the output, to {place}", "copy it instead of linking"
        )
    fits, expected = _KINDS[kind]
    if not fits(mode):
        raise wrong_manifest(f"{subject}is not {expected}")


def _is_program(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def _is_content(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


_KINDS = {
    "file": (stat.S_ISREG, "a file"),
    "program": (_is_program, "a program"),
    "content": (_is_content, "a file or a directory"),
}
