"""The two files that an image is imported from: its metadata, and its root's file system or disk.

Checks what can be checked without Incus: Incus accepts any bytes as a file system, and fails only
when the first instance is made of them.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from pathlib import Path

METADATA_FILE = "metadata.tar.xz"
METADATA_MEMBER = "metadata.yaml"
SQUASHFS_LENGTH = slice(40, 48)
"""Where a squashfs says how many bytes it has."""
MAKE_ONE = "`pikaci image build ROLE` makes one"


@dataclass(frozen=True)
class Kind:
    """A kind of guest, the file that its root is in, and how that file begins."""

    instance_type: str
    file_name: str
    magic: bytes

    @property
    def is_vm(self) -> bool:
        """Whether it is a virtual machine."""
        return self is VIRTUAL_MACHINE


CONTAINER = Kind("container", "rootfs.squashfs", b"hsqs")
VIRTUAL_MACHINE = Kind("virtual-machine", "disk.qcow2", b"QFI\xfb")
KINDS = (CONTAINER, VIRTUAL_MACHINE)


@dataclass(frozen=True)
class ImageFiles:
    """An image's files, which were looked at."""

    metadata: Path
    rootfs: Path
    kind: Kind

    @property
    def size_bytes(self) -> int:
        """Of both."""
        return self.metadata.stat().st_size + self.rootfs.stat().st_size

    def fingerprint(self) -> str:
        """What Incus calls the image: the hash of all bytes of both files."""
        digest = hashlib.sha256()
        for path in (self.metadata, self.rootfs):
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        return digest.hexdigest()


def files_in(directory: Path, instance_type: str | None = None) -> ImageFiles:
    """The image in a directory, for guests of a type where that is known."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", MAKE_ONE)
    found = [kind for kind in KINDS if (directory / kind.file_name).exists()]
    if not found:
        names = " or ".join(kind.file_name for kind in KINDS)
        raise UsageError(f"{directory} has no {names}", MAKE_ONE)
    found = [kind for kind in found if kind.instance_type == instance_type] or found
    if len(found) > 1:
        both = " and ".join(kind.file_name for kind in found)
        raise UsageError(f"{directory} has {both}", "name one of them with --rootfs")
    return open_image(directory / METADATA_FILE, directory / found[0].file_name, instance_type)


def open_image(metadata: Path, rootfs: Path, instance_type: str | None = None) -> ImageFiles:
    """The image that is made of two files, for guests of a type where that is known."""
    _check_metadata(metadata)
    files = ImageFiles(metadata, rootfs, _look_at(rootfs))
    if instance_type and files.kind.instance_type != instance_type:
        (wanted,) = (kind for kind in KINDS if kind.instance_type == instance_type)
        raise UsageError(
            f"{rootfs} is for a {files.kind.instance_type}; a {instance_type} is asked for",
            f"take a {wanted.file_name}, or change the role's instanceType",
        )
    return files


def _check_metadata(path: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
    except (tarfile.TarError, EOFError, lzma.LZMAError) as error:
        raise _damaged(path, "a whole tar archive") from error
    except OSError as error:
        # gzip's and bz2's own errors have no number.
        raise _unreadable(path, error) if error.errno else _damaged(path, "an archive") from error
    if METADATA_MEMBER not in names:
        raise UsageError(f"{path} has no {METADATA_MEMBER} in it", MAKE_ONE)


def _look_at(path: Path) -> Kind:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(SQUASHFS_LENGTH.stop)
    except OSError as error:
        raise _unreadable(path, error) from error
    kind = next((kind for kind in KINDS if head.startswith(kind.magic)), None)
    if kind is None:
        raise UsageError(f"{path} is neither a squashfs nor a qcow2 disk", MAKE_ONE)
    length = int.from_bytes(head[SQUASHFS_LENGTH], "little")
    if kind is CONTAINER and size < max(length, SQUASHFS_LENGTH.stop):
        raise _damaged(path, "a whole squashfs")
    return kind


def _damaged(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} is not {what}", "it may be cut short: make or copy it again")


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} can't be read: {error.strerror}", MAKE_ONE)
