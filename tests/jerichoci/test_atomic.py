from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from disk import fill
from jerichoci.state import atomic

if TYPE_CHECKING:
    from pathlib import Path


def test_a_write_replaces_a_file_for_its_owner_alone_and_not_for_who_has_it_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record"
    atomic.write_bytes(path, b"old")
    with path.open("rb") as reader:
        atomic.write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_other(small_disk: Path) -> None:
    path = small_disk / "record"
    atomic.write_bytes(path, b"old")
    filler = fill(small_disk, leave=8192)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_bytes(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert set(small_disk.iterdir()) == {path, filler}


def test_an_interrupted_write_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "record", b"new")
    assert list(tmp_path.iterdir()) == []


def test_json_with_bytes_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "record", {"name": "a\udcff"})
    text = (tmp_path / "record").read_bytes().decode("utf-8", "surrogateescape")
    assert json.loads(text) == {"name": "a\udcff"}
