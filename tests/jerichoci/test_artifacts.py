"""What a job left, taken where it is or copied out of a guest's /artifacts: in one walk."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import tracemalloc
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deep import nest
from jerichoci.machine import artifacts
from jerichoci.machine.artifacts import CHUNK_BYTES, MOST_DEPTH, Artifact, take_artifacts
from jerichoci.machine.outbox import copy_outbox
from jerichoci.state.natural import natural
from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534


@dataclass(frozen=True)
class Taking:
    """A job's files, and where they are once they were taken."""

    left: Path
    kept: Path

    def take(self, cancelled: Callable[[], bool] | None = None) -> list[Artifact]:
        if self.left == self.kept:
            return take_artifacts(self.left, cancelled)
        return copy_outbox(self.left.parent, self.kept.parent, cancelled)

    def paths(self) -> list[str]:
        return [artifact.path for artifact in self.take()]


@pytest.fixture
def copying(tmp_path: Path) -> Taking:
    """A guest's outbox, and where its files are copied to."""
    (tmp_path / "outbox/files").mkdir(parents=True)
    (tmp_path / "into").mkdir()
    return Taking(tmp_path / "outbox/files", tmp_path / "into/files")


@pytest.fixture(params=["in place", "copied"])
def taking(request: pytest.FixtureRequest, copying: Taking) -> Taking:
    return Taking(copying.left, copying.left) if request.param == "in place" else copying


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_files_are_listed_by_path_with_size_and_digest(taking: Taking) -> None:
    names = [f"{a}/{b}/file" for a in "xyz" for b in "xyz"]
    for name in names:
        (taking.left / name).parent.mkdir(parents=True)
        (taking.left / name).touch()
    (taking.left / "b").mkdir()
    (taking.left / "b/two").write_bytes(b"2" * 3_000_000)
    (taking.left / "one").write_text("1")
    two, one, *rest = taking.take()
    assert [artifact.path for artifact in rest] == names
    assert (two.path, two.bytes, two.sha256) == ("b/two", 3_000_000, digest(b"2" * 3_000_000))
    assert (one.path, one.bytes, one.sha256) == ("one", 1, digest(b"1"))
    for directory in (taking.left, taking.kept):
        assert (directory / "b/two").read_bytes() == b"2" * 3_000_000


def test_what_is_no_file_is_not_taken_nor_followed_nor_waited_for(
    taking: Taking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "elsewhere/secret"
    secret.parent.mkdir(mode=0o755)
    secret.write_text("secret")
    secret.chmod(0o640)
    (taking.left / "directory").mkdir()
    targets = (str(secret), str(secret.parent), "/etc/passwd", "gone", ".", "..", "0")
    for number, target in enumerate(targets):
        (taking.left / f"{number}").symlink_to(target)
        (taking.left / f"directory/{number}").symlink_to(target)
    os.mkfifo(taking.left / "fifo")
    monkeypatch.chdir(taking.left)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert taking.paths() == []
    assert {path.name for path in taking.kept.rglob("*")} <= {"directory"}
    assert secret.read_text() == "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o755


def test_a_device_is_not_taken(taking: Taking) -> None:
    only_root_can("make devices")
    for name in ("zero", "../result.json", "../events.jsonl"):
        os.mknod(taking.left / name, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert taking.paths() == []
    assert list(taking.kept.glob("*")) == []
    assert not (taking.kept.parent / "result.json").is_file()


def test_modes_are_stripped_and_closed_directories_opened(taking: Taking) -> None:
    (taking.left / "closed").mkdir()
    modes = (0o4755, 0o2755, 0o1777, 0o6777, 0o000, 0o444, 0o666)
    for mode in modes:
        (taking.left / f"closed/{mode:o}").write_text("x")
        (taking.left / f"closed/{mode:o}").chmod(mode)
    (taking.left / "closed").chmod(0)
    assert taking.paths() == sorted((f"closed/{mode:o}" for mode in modes), key=natural)
    assert stat.S_IMODE((taking.kept / "closed").stat().st_mode) == 0o755
    found = {
        path.name: (path.stat().st_mode, path.stat().st_uid) for path in taking.kept.glob("*/*")
    }
    executable = {f"{mode:o}" for mode in modes if mode & 0o111}
    assert found == {
        f"{mode:o}": (stat.S_IFREG | (0o755 if f"{mode:o}" in executable else 0o644), os.geteuid())
        for mode in modes
    }


def test_what_the_host_may_not_open_is_left_and_the_rest_is_taken(copying: Taking) -> None:
    only_root_can("give files away")
    for name in ("closed", "open"):
        (copying.left / name).write_text("x")
    (copying.left / "closed").chmod(0)
    for path in copying.left.parents:
        if "pytest-of-" in str(path):
            path.chmod(0o755)
    copying.kept.parent.chmod(0o777)
    with get_context("fork").Pool(1, give_up_rights) as other:
        assert other.apply(copying.paths) == ["open"]


def give_up_rights() -> None:
    os.setgroups([])
    os.setresuid(NOBODY, NOBODY, NOBODY)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="Not a directory"):
        take_artifacts(tmp_path / "link")


def test_names_may_be_anything(taking: Taking) -> None:
    for name in (b"new\nline", b"\xff\xfe", b"-rf", b" ", b"'\"", b"\xf0\x9f\x98\x80", b"a" * 255):
        (taking.left / os.fsdecode(name)).write_bytes(name)
    found = taking.paths()
    assert sorted(found) == sorted(
        ["new\nline", "\ufffd\ufffd", "-rf", " ", "'\"", "\U0001f600", "a" * 255]
    )
    assert (taking.kept / os.fsdecode(b"\xff\xfe")).read_bytes() == b"\xff\xfe"
    assert all(path.encode() for path in found)


def test_directories_may_be_nested_as_deep_as_is_said(taking: Taking) -> None:
    nest(taking.left, MOST_DEPTH, "file")
    (taking.left / "d/d/beside").write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert taking.paths() == ["d/d/beside", "d/" * MOST_DEPTH + "file"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_directories_that_are_nested_deeper_are_an_error(taking: Taking) -> None:
    nest(taking.left, MOST_DEPTH + 1, "file")
    with pytest.raises(OSError, match="nested more than 200 deep") as raised:
        taking.take()
    assert raised.value.errno == errno.ENAMETOOLONG


def test_a_file_that_is_also_elsewhere_is_copied_and_the_other_keeps_its_mode(
    taking: Taking, tmp_path: Path
) -> None:
    other = tmp_path / "store-path"
    other.write_text("text")
    other.chmod(0o444)
    before = other.stat()
    (taking.left / "file").hardlink_to(other)
    (only,) = taking.take()
    assert (only.path, only.bytes) == ("file", 4)
    assert (taking.kept / "file").read_text() == "text"
    assert (taking.kept / "file").stat().st_nlink == 1
    assert (other.stat().st_mode, other.stat().st_mtime) == (before.st_mode, before.st_mtime)
    assert stat.S_IMODE((taking.kept / "file").stat().st_mode) == 0o644
    assert [path.name for path in taking.kept.iterdir()] == ["file"]


def test_a_copy_that_fails_leaves_the_file_as_it_was(
    copying: Taking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = copying.left
    (tmp_path / "other").write_text("text")
    (left / "file").hardlink_to(tmp_path / "other")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        take_artifacts(left)
    assert [path.name for path in left.iterdir()] == ["file"]
    assert (left / "file").samefile(tmp_path / "other")


def test_a_copy_has_the_holes_and_the_digest_of_the_file(taking: Taking, tmp_path: Path) -> None:
    with (taking.left / "file").open("wb") as file:
        for offset, data in ((CHUNK_BYTES + 4096, b"a" * 5000), (5 * CHUNK_BYTES, b"b" * 10)):
            file.seek(offset)
            file.write(data)
        file.truncate(7 * CHUNK_BYTES + 12345)
    (tmp_path / "other").hardlink_to(taking.left / "file")
    content = (tmp_path / "other").read_bytes()
    (only,) = taking.take()
    assert (only.bytes, only.sha256) == (len(content), digest(content))
    assert (taking.kept / "file").read_bytes() == content
    assert (taking.kept / "file").stat().st_blocks * 512 < 3 * CHUNK_BYTES


def test_a_huge_hole_takes_no_memory(copying: Taking) -> None:
    with (copying.left / "file").open("wb") as file:
        file.truncate(64 * CHUNK_BYTES)
    tracemalloc.start()
    try:
        take_artifacts(copying.left)
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("change", "found"), [("grow", 1000), ("shrink", 150)])
def test_a_file_that_changes_meanwhile_is_taken_as_it_was_as_far_as_it_is_there(
    copying: Taking, monkeypatch: pytest.MonkeyPatch, change: str, found: int
) -> None:
    path = copying.left / "file"
    path.write_bytes(b"a" * 1000)
    read = os.pread

    def changing(fd: int, count: int, offset: int) -> bytes:
        if change == "shrink":
            os.truncate(path, 150)
        else:
            path.write_bytes(path.read_bytes() + b"more")
        return read(fd, count, offset)

    monkeypatch.setattr("os.pread", changing)
    (only,) = copying.take()
    assert (only.bytes, only.sha256) == (found, digest(b"a" * found))
    assert (copying.kept / "file").read_bytes() == b"a" * found


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory of the host's, with a file."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("x")
    return tmp_path / "elsewhere"


def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(
    taking: Taking, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (taking.left / "directory").mkdir()
    opened = artifacts._open

    def swap(entry: os.DirEntry[str], directory: int) -> int:
        (taking.left / "directory").rmdir()
        (taking.left / "directory").symlink_to(elsewhere)
        return opened(entry, directory)

    monkeypatch.setattr(artifacts, "_open", swap)
    assert taking.paths() == []
    assert (elsewhere / "secret").exists()


def test_a_directory_that_is_moved_out_meanwhile_is_not_climbed_from(
    copying: Taking, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copying.left / "a/b").mkdir(parents=True)
    for name in ("a/b/file", "a/file"):
        (copying.left / name).touch()
    opened = artifacts._open

    def move(entry: os.DirEntry[str], directory: int) -> int:
        fd = opened(entry, directory)
        if entry.name == "b":
            (copying.left / "a/b").rename(elsewhere / "b")
        return fd

    monkeypatch.setattr(artifacts, "_open", move)
    assert copying.paths() == ["a/b/file", "a/file"]
    assert not (copying.kept / "secret").exists()


def test_a_cancel_ends_the_reading_of_a_file_and_the_walk_between_files(taking: Taking) -> None:
    with (taking.left / "large").open("wb") as file:
        file.truncate(2**40)
    asked = iter([False] * 9 + [True])
    with pytest.raises(OSError, match="cancel") as raised:
        taking.take(lambda: next(asked))
    assert raised.value.errno == errno.ECANCELED
    (taking.left / "large").unlink()
    for number in range(10):
        (taking.left / str(number)).touch()
    asked = iter([False] * 3 + [True])
    with pytest.raises(OSError, match="cancel"):
        taking.take(lambda: next(asked))
