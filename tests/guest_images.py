"""Files of images: small ones that Incus takes, and of which it could make no instance."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from jerichoci.runtime.incus.image_files import CONTAINER, METADATA_FILE, ImageFiles, Kind, files_in

if TYPE_CHECKING:
    from pathlib import Path

METADATA = "architecture: x86_64\ncreation_date: 1\n"
"""Without properties: given some with the import, incusd 6.0 ends."""


def write_image(
    directory: Path, content: str = "", kind: Kind = CONTAINER, metadata: str = METADATA
) -> Path:
    """An image of a kind, another one for each content."""
    directory.mkdir(parents=True, exist_ok=True)
    write_metadata(directory / METADATA_FILE, {"metadata.yaml": metadata})
    (directory / kind.file_name).write_bytes(rootfs(kind, content.encode()))
    return directory


def write_metadata(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def rootfs(kind: Kind, content: bytes) -> bytes:
    body = bytes(96) + content
    if kind.is_vm:
        return kind.magic + body
    size = len(kind.magic) + len(body)
    return kind.magic + body[:36] + size.to_bytes(8, "little") + body[44:]


def image(directory: Path, content: str = "") -> ImageFiles:
    return files_in(write_image(directory, content))
