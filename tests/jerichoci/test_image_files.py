"""Two files are an image, or a sentence says why not."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from guest_images import rootfs, write_image, write_metadata
from jerichoci.errors import UsageError
from jerichoci.runtime.incus.image_files import (
    CONTAINER,
    KINDS,
    VIRTUAL_MACHINE,
    Kind,
    files_in,
    open_image,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.instance_type)
def test_the_kind_follows_from_the_file(tmp_path: Path, kind: Kind) -> None:
    files = files_in(write_image(tmp_path, kind=kind))

    assert files.kind is kind
    assert files.rootfs == tmp_path / kind.file_name
    assert files.size_bytes == files.metadata.stat().st_size + files.rootfs.stat().st_size


def test_files_may_be_called_anything(tmp_path: Path) -> None:
    write_image(tmp_path, kind=VIRTUAL_MACHINE)
    (tmp_path / "disk.qcow2").rename(tmp_path / "other")

    assert open_image(tmp_path / "metadata.tar.xz", tmp_path / "other").kind is VIRTUAL_MACHINE


def test_the_fingerprint_is_the_hash_of_both(tmp_path: Path) -> None:
    files = files_in(write_image(tmp_path, content="x" * 3_000_000))

    together = files.metadata.read_bytes() + files.rootfs.read_bytes()
    assert files.fingerprint() == hashlib.sha256(together).hexdigest()


def test_links_into_the_store_metadata_of_nixos_and_padding_will_do(tmp_path: Path) -> None:
    store = write_image(tmp_path / "store")
    write_metadata(store / "metadata.tar.xz", {"./metadata.yaml": "", "./templates/x": ""})
    (store / "rootfs.squashfs").write_bytes(rootfs(CONTAINER, b"") + bytes(4000))
    (tmp_path / "image").mkdir()
    for path in store.iterdir():
        (tmp_path / "image" / path.name).symlink_to(path)

    assert files_in(tmp_path / "image").kind is CONTAINER


def test_of_two_kinds_the_one_that_is_asked_for_counts(tmp_path: Path) -> None:
    for kind in KINDS:
        write_image(tmp_path, kind=kind)

    for kind in KINDS:
        assert files_in(tmp_path, kind.instance_type).kind is kind
    assert "rootfs.squashfs and disk.qcow2" in refused(tmp_path)


def test_what_is_missing_or_of_another_kind_is_said(tmp_path: Path) -> None:
    assert f"{tmp_path}/none is not a directory" in refused(tmp_path / "none")
    assert "has no rootfs.squashfs or disk.qcow2" in refused(tmp_path)
    write_image(tmp_path)
    said = refused(tmp_path, "virtual-machine")
    assert "is for a container; a virtual-machine is asked for" in said
    assert "disk.qcow2" in said
    (tmp_path / "metadata.tar.xz").unlink()
    assert "metadata.tar.xz can't be read: No such file" in refused(tmp_path)
    write_metadata(tmp_path / "metadata.tar.xz", {"templates/hosts": ""})
    assert "has no metadata.yaml in it" in refused(tmp_path)
    write_image(tmp_path)
    (tmp_path / "rootfs.squashfs").unlink()
    (tmp_path / "rootfs.squashfs").mkdir()
    assert "rootfs.squashfs can't be read: Is a directory" in refused(tmp_path)


def test_files_that_are_cut_short_or_of_another_make_are_refused(tmp_path: Path) -> None:
    metadata, root = tmp_path / "metadata.tar.xz", tmp_path / "rootfs.squashfs"
    for keep in (0, 5, 50, 120):
        write_image(tmp_path)
        os.truncate(metadata, keep)
        assert "metadata.tar.xz is not a whole tar archive" in refused(tmp_path)
    for head in (b"\x1f\x8b\x08rest", b"BZh9rest", b"text\n" * 1000):
        metadata.write_bytes(head)
        assert "metadata.tar.xz is not a" in refused(tmp_path)
    for keep in (0, 3, 4, 47, 99):
        write_image(tmp_path)
        os.truncate(root, keep)
        kind = "is neither a squashfs nor a qcow2" if keep < 4 else "is not a whole squashfs"
        assert kind in refused(tmp_path)


def refused(directory: Path, instance_type: str | None = None) -> str:
    with pytest.raises(UsageError) as refusal:
        files_in(directory, instance_type)
    assert refusal.value.hint
    return str(refusal.value)
