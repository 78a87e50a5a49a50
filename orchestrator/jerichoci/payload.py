"""What a prepared output says of itself in `share/pikaci/payload-manifest.json`.

- An output without that file says nothing, and is taken as it is.
- Paths in it are relative to the output, exist, and are inside it, also where links lead.
- Guest paths are absolute and normal, are apart from each other, and cover nothing a guest needs.
- A wrong manifest is the mistake of whoever built the output: one sentence says what is wrong.
"""

from __future__ import annotations

import json
import os
import re
import stat
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from jerichoci.errors import UsageError
from jerichoci.model import Id, Model
from jerichoci.plan import describe

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = "share/pikaci/payload-manifest.json"
PAYLOAD_SCHEMA_VERSION = 1
MANIFEST_LIMIT_BYTES = 2**20
"""A manifest is names and paths: what is longer isn't one."""

GUEST_CLOSED = (
    "/artifacts",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/nix",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",  # noqa: S108 - a guest's
    "/usr",
    "/workspace",
)
"""Nothing may be mounted at or below these; the catalog library has the same list."""
GUEST_KEPT = ("/home", "/root", "/var")
"""Nothing may be mounted at these."""

_NORMAL = re.compile(r"(/[A-Za-z0-9_.+@=-]+)+")


class PayloadError(UsageError):
    """A prepared output's manifest is wrong."""


def _relative(path: str) -> str:
    if path != "." and (not path or "\0" in path or {"", ".", ".."} & set(path.split("/"))):
        raise ValueError(f"{path!r} is not a plain path inside the output")
    return path


def _guest(path: str) -> str:
    if not _NORMAL.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ValueError(
            f"{path!r} is not an absolute path of plain names,"
            ' without "..", "//" or a slash at its end'
        )
    if f"/{path.split('/')[1]}" in GUEST_CLOSED or path in GUEST_KEPT:
        raise ValueError(f"{path!r} covers what a guest needs")
    return path


def _read_only(value: bool) -> bool:  # noqa: FBT001 - a validator's only argument
    if not value:
        raise ValueError("prepared outputs are shown read-only")
    return value


RelativePath = Annotated[str, AfterValidator(_relative)]
GuestPath = Annotated[str, AfterValidator(_guest)]


class Mount(Model):
    """A part of the output and where a guest finds it."""

    name: Id
    relative_path: RelativePath
    guest_path: GuestPath
    read_only: Annotated[bool, AfterValidator(_read_only)] = True


class PayloadManifest(Model):
    """The programs, files and mounts of a prepared output."""

    schema_version: Literal[1]
    kind: Id
    entrypoints: list[RelativePath] = Field(default=[], description="programs that jobs start")
    asset_roots: list[RelativePath] = Field(default=[], description="files these programs read")
    mounts: list[Mount] = Field(default=[])

    @model_validator(mode="after")
    def _mounts_are_apart(self) -> PayloadManifest:
        names = [mount.name for mount in self.mounts]
        if len(set(names)) != len(names):
            raise ValueError("two mounts have one name")
        paths = sorted(f"{mount.guest_path}/" for mount in self.mounts)
        for upper, lower in pairwise(paths):
            if lower.startswith(upper):
                raise ValueError(f"guest paths are not apart: {upper[:-1]} and {lower[:-1]}")
        return self


def read_payload(output: Path) -> PayloadManifest | None:
    """The manifest of a prepared output, or None if it has none.

    Raises:
        PayloadError: it is wrong, or the output hasn't what it names.
    """
    if not os.path.lexists(output / MANIFEST):
        return None
    manifest = _parse(_load(output))
    for path in manifest.entrypoints:
        _find(output, path, "entrypoint", _is_program, "a program")
    for path in manifest.asset_roots:
        _find(output, path, "asset root", _is_content, "a file or a directory")
    for mount in manifest.mounts:
        _find(output, mount.relative_path, "mount", _is_content, "a file or a directory")
    return manifest


def _load(output: Path) -> bytes:
    _find(output, MANIFEST, "", stat.S_ISREG, "a file")
    try:
        with (output / MANIFEST).open("rb") as file:
            data = file.read(MANIFEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise _wrong(f"can't be read ({error.strerror})") from error
    if len(data) > MANIFEST_LIMIT_BYTES:
        raise _wrong(f"is longer than {MANIFEST_LIMIT_BYTES} bytes")
    return data


def _parse(data: bytes) -> PayloadManifest:
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"is not JSON ({error})") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > PAYLOAD_SCHEMA_VERSION:
        raise _wrong(
            f"has payload schema {version}; this pikaci knows {PAYLOAD_SCHEMA_VERSION}",
            "use a later pikaci, or build the output for this one",
        )
    try:
        return PayloadManifest.model_validate(values)
    except ValidationError as error:
        raise _wrong(f"is wrong: {describe(error)}") from error


def _find(output: Path, path: str, what: str, fits: Callable[[int], bool], expected: str) -> None:
    """See that `path` of the output leads to something that fits, and doesn't leave the output."""
    subject = f"names the {what} {path!r}, which " if what else ""
    try:
        root = os.path.realpath(output, strict=True)
        place = os.path.realpath(output / path, strict=True)
        mode = Path(place).stat().st_mode
    except OSError as error:
        raise _wrong(f"{subject}can't be found ({error.strerror})") from error
    if place != root and not place.startswith(f"{root}/"):
        raise _wrong(f"{subject}leads out of the output, to {place}", "copy it instead of linking")
    if not fits(mode):
        raise _wrong(f"{subject}is not {expected}")


def _is_program(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def _is_content(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _wrong(what: str, hint: str | None = None) -> PayloadError:
    return PayloadError(f"{MANIFEST} {what}", hint)
