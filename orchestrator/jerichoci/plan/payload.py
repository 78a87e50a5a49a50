"""What a prepared output says of itself in `share/pikaci/payload-manifest.json`.

- An output without that file says nothing, and is taken as it is.
- Paths in it are relative to the output, exist, and are inside it, also where links lead.
- Guest paths are absolute and normal, are apart from each other, and cover nothing a guest needs.
- A wrong manifest is a mistake in the output: one sentence says what is wrong.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jerichoci.nix.payload_files import wrong_manifest
from jerichoci.placement import Placement, operations
from jerichoci.plan.model import Id, Model
from jerichoci.plan.rule import ValidationError, after, check, field

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD_SCHEMA_VERSION = 1

GUEST_CLOSED = (
    *("/artifacts", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/nix", "/proc"),
    *("/run", "/sbin", "/sys", "/tmp", "/usr", "/workspace"),  # noqa: S108 - a guest's
)
"""Nothing may be mounted at or below these; the catalog library has the same list."""
GUEST_KEPT = ("/home", "/root", "/var")
"""Nothing may be mounted at these."""

_NORMAL = re.compile(r"(/[A-Za-z0-9_.+@=-]+)+")


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


RelativePath = Annotated[str, after(_relative)]
GuestPath = Annotated[str, after(_guest)]


class Mount(Model):
    """A part of the output and where a guest finds it."""

    name: Id
    relative_path: RelativePath
    guest_path: GuestPath
    read_only: Annotated[bool, after(_read_only)] = True


class PayloadManifest(Model):
    """The programs, files and mounts of a prepared output."""

    schema_version: Literal[1]
    kind: Id
    entrypoints: list[RelativePath] = field(default=[], description="programs that jobs start")
    asset_roots: list[RelativePath] = field(default=[], description="files these programs read")
    mounts: list[Mount] = field(default=[])

    @check
    def _mounts_are_apart(self) -> PayloadManifest:
        names = [mount.name for mount in self.mounts]
        if len(set(names)) != len(names):
            raise ValueError("two mounts have one name")
        paths = sorted(f"{mount.guest_path}/" for mount in self.mounts)
        for upper, lower in pairwise(paths):
            if lower.startswith(upper):
                raise ValueError(f"guest paths are not apart: {upper[:-1]} and {lower[:-1]}")
        return self

    def named(self) -> list[tuple[str, str, str]]:
        """What the output must have: what it is, its path, `program` or `content`."""
        mounts = [("mount", mount.relative_path, "content") for mount in self.mounts]
        roots = [("asset root", path, "content") for path in self.asset_roots]
        return [*(("entrypoint", path, "program") for path in self.entrypoints), *roots, *mounts]


async def read_payload_on(placement: Placement, output: Path) -> PayloadManifest | None:
    """The manifest of a prepared output on a host, or None if it has none."""
    data = await placement.do(operations.load_manifest, output)
    if data is None:
        return None
    manifest = parse_payload(data)
    await placement.do(operations.check_content, output, manifest.named())
    return manifest


def parse_payload(data: bytes) -> PayloadManifest:
    """The manifest that `data` is."""
    try:
        values: Any = json.loads(data)
        # A half of a pair of surrogates is JSON, and no text.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise wrong_manifest(f"is not JSON ({error})") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > PAYLOAD_SCHEMA_VERSION:
        raise wrong_manifest(
            f"has payload schema {version}; this pikaci knows {PAYLOAD_SCHEMA_VERSION}",
            "use a later pikaci, or build the output for this one",
        )
    try:
        return PayloadManifest.model_validate(values)
    except ValidationError as error:
        raise wrong_manifest(f"is wrong: {error}") from error
