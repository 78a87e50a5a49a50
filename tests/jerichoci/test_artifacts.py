from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from jerichoci.artifacts import collect

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a job left."""
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def paths(directory: Path) -> list[str]:
    return [artifact.path for artifact in collect(directory)]


def test_files_are_listed_by_path_with_size_and_digest(left: Path) -> None:
    (left / "b").mkdir()
    (left / "b/two").write_bytes(bytes(3 * 2**20))
    (left / "one").write_text("1")
    two, one = collect(left)
    assert (two.path, two.bytes) == ("b/two", 3 * 2**20)
    assert two.sha256 == hashlib.sha256(bytes(3 * 2**20)).hexdigest()
    assert (one.path, one.bytes, one.sha256) == ("one", 1, hashlib.sha256(b"1").hexdigest())


def test_a_link_to_a_secret_is_removed_and_the_secret_untouched(left: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o640)
    (left / "link").symlink_to(secret)
    assert paths(left) == []
    assert not (left / "link").is_symlink()
    assert secret.read_text() == "secret"
    assert secret.stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_directory_is_removed_and_nothing_in_it_is_taken(
    left: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "file").write_text("x")
    (left / "link").symlink_to(elsewhere)
    assert paths(left) == []
    assert (elsewhere / "file").exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_fifo_is_removed_and_nobody_waits_for_its_writer(left: Path) -> None:
    os.mkfifo(left / "fifo")
    assert paths(left) == []
    assert list(left.iterdir()) == []


def test_a_device_is_removed(left: Path) -> None:
    os.mknod(left / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert paths(left) == []
    assert list(left.iterdir()) == []


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o000, 0o444])
def test_modes_are_stripped(left: Path, mode: int) -> None:
    (left / "file").write_text("x")
    (left / "file").chmod(mode)
    assert paths(left) == ["file"]
    assert stat.S_IMODE((left / "file").stat().st_mode) == 0o600


def test_a_directory_that_was_closed_is_opened(left: Path) -> None:
    (left / "closed").mkdir()
    (left / "closed/file").write_text("x")
    (left / "closed").chmod(0)
    assert paths(left) == ["closed/file"]
    assert stat.S_IMODE((left / "closed").stat().st_mode) == 0o700


def test_a_name_that_is_no_text_is_listed_all_the_same(left: Path) -> None:
    (left / os.fsdecode(b"a\xff")).write_text("x")
    (only,) = collect(left)
    assert only.path == "a\ufffd"
    assert only.model_dump_json()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="Not a directory"):
        collect(tmp_path / "link")
