from __future__ import annotations

import errno
import hashlib
import os
import stat
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from deep import nest
from jerichoci.machine.artifacts import CHUNK_BYTES, MOST_DEPTH, take_artifacts
from jerichoci.state.remove_tree import remove_tree
from privilege import only_root_can

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a job left."""
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def paths(directory: Path) -> list[str]:
    return [artifact.path for artifact in take_artifacts(directory)]


def test_files_are_listed_by_path_with_size_and_digest(left: Path) -> None:
    names = [f"{a}/{b}/file" for a in "xyz" for b in "xyz"]
    for name in names:
        (left / name).parent.mkdir(parents=True)
        (left / name).touch()
    (left / "b").mkdir()
    (left / "b/two").write_bytes(bytes(3 * 2**20))
    (left / "one").write_text("1")
    two, one, *rest = take_artifacts(left)
    assert [artifact.path for artifact in rest] == names
    assert (two.path, two.bytes) == ("b/two", 3 * 2**20)
    assert two.sha256 == hashlib.sha256(bytes(3 * 2**20)).hexdigest()
    assert (one.path, one.bytes, one.sha256) == ("one", 1, hashlib.sha256(b"1").hexdigest())


def test_links_and_fifos_are_removed_and_what_links_name_is_untouched(
    left: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "elsewhere/secret"
    secret.parent.mkdir(mode=0o755)
    secret.write_text("secret")
    secret.chmod(0o640)
    (left / "link").symlink_to(secret)
    (left / "directory").symlink_to(secret.parent)
    os.mkfifo(left / "fifo")
    assert paths(left) == []
    assert list(left.iterdir()) == []
    assert secret.read_text() == "secret"
    assert secret.stat().st_mode & 0o777 == 0o640
    assert secret.parent.stat().st_mode & 0o777 == 0o755


def test_a_device_is_removed(left: Path) -> None:
    only_root_can("make devices")
    os.mknod(left / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert paths(left) == []
    assert list(left.iterdir()) == []


def test_modes_are_stripped_and_closed_directories_opened(left: Path) -> None:
    (left / "closed").mkdir()
    modes = (0o4755, 0o2755, 0o1777, 0o000, 0o444)
    for mode in modes:
        (left / f"closed/{mode:o}").write_text("x")
        (left / f"closed/{mode:o}").chmod(mode)
    (left / "closed").chmod(0)
    assert paths(left) == sorted(f"closed/{mode:o}" for mode in modes)
    assert stat.S_IMODE((left / "closed").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in left.glob("*/*")} == {0o600}


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="Not a directory"):
        take_artifacts(tmp_path / "link")


def test_directories_may_be_nested_as_deep_as_is_said(left: Path) -> None:
    nest(left, MOST_DEPTH, "file")
    (left / "d/d/beside").write_text("x")
    assert paths(left) == ["d/d/beside", "d/" * MOST_DEPTH + "file"]


def test_directories_that_are_nested_deeper_are_an_error(left: Path) -> None:
    nest(left, 1500, "file")
    try:
        with pytest.raises(OSError, match="nested more than 200 deep") as raised:
            take_artifacts(left)
        assert raised.value.errno == errno.ENAMETOOLONG
    finally:
        # pytest's own clean-up recurses.
        remove_tree(left)


def test_a_file_that_is_also_elsewhere_is_copied_and_the_other_keeps_its_mode(
    left: Path, tmp_path: Path
) -> None:
    other = tmp_path / "store-path"
    other.write_text("text")
    other.chmod(0o444)
    before = other.stat()
    (left / "file").hardlink_to(other)
    (only,) = take_artifacts(left)
    assert (only.path, only.bytes) == ("file", 4)
    assert (left / "file").read_text() == "text"
    assert not (left / "file").samefile(other)
    assert (other.stat().st_mode, other.stat().st_mtime) == (before.st_mode, before.st_mtime)
    assert stat.S_IMODE((left / "file").stat().st_mode) == 0o600
    assert [path.name for path in left.iterdir()] == ["file"]


def test_a_copy_that_fails_leaves_the_file_as_it_was(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").write_text("text")
    (left / "file").hardlink_to(tmp_path / "other")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        take_artifacts(left)
    assert [path.name for path in left.iterdir()] == ["file"]
    assert (left / "file").samefile(tmp_path / "other")


def sparse(path: Path) -> bytes:
    """A file with holes before, between and after its data, the last of an odd size."""
    with path.open("wb") as file:
        for offset, data in ((CHUNK_BYTES + 4096, b"a" * 5000), (5 * CHUNK_BYTES, b"b" * 10)):
            file.seek(offset)
            file.write(data)
        file.truncate(7 * CHUNK_BYTES + 12345)
    return path.read_bytes()


def test_a_file_with_holes_has_the_digest_of_its_bytes(left: Path) -> None:
    content = sparse(left / "file")
    (only,) = take_artifacts(left)
    assert (only.bytes, only.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_copy_has_holes_where_the_file_has(left: Path, tmp_path: Path) -> None:
    content = sparse(tmp_path / "other")
    (left / "file").hardlink_to(tmp_path / "other")
    take_artifacts(left)
    assert (left / "file").read_bytes() == content
    assert (left / "file").stat().st_blocks * 512 < 3 * CHUNK_BYTES


def test_a_huge_hole_takes_no_memory(left: Path) -> None:
    with (left / "file").open("wb") as file:
        file.truncate(64 * CHUNK_BYTES)
    tracemalloc.start()
    try:
        take_artifacts(left)
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK_BYTES
    finally:
        tracemalloc.stop()


def test_a_cancel_ends_the_reading_of_a_file(left: Path) -> None:
    with (left / "file").open("wb") as file:
        file.truncate(2**40)
    asked = iter([False] * 9 + [True])
    with pytest.raises(OSError, match="cancel") as raised:
        take_artifacts(left, lambda: next(asked))
    assert raised.value.errno == errno.ECANCELED


def test_a_cancel_ends_the_walk_between_files(left: Path) -> None:
    for number in range(10):
        (left / str(number)).touch()
    asked = iter([False] * 3 + [True])
    with pytest.raises(OSError, match="cancel"):
        take_artifacts(left, lambda: next(asked))
