from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import UsageError
from jerichoci.state.log_file import last_lines, read_log

if TYPE_CHECKING:
    from pathlib import Path


@given(data=st.binary(max_size=50), limit=st.integers(1, 7))
def test_reading_on_from_offset_to_offset_gives_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.log"
    path.write_bytes(data)
    found, offset = b"", 0
    while chunk := read_log(path, offset, limit).data:
        assert len(chunk) <= limit
        found, offset = found + chunk, offset + len(chunk)
    assert found == data


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    chunk = read_log(tmp_path / "log", 7)
    assert (chunk.data, chunk.offset, chunk.next_offset) == (b"", 7, 7)


def test_the_last_lines_come_from_the_end_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x\n" * 100_000 + b"one\ntw\xff\n")
    assert last_lines(tmp_path / "log", 2) == ["one", "tw\ufffd"]
    assert last_lines(tmp_path / "gone", 2) == []


@pytest.mark.parametrize(("offset", "limit"), [(-1, None), (0, -1), (-(2**70), 5)])
def test_a_negative_offset_or_limit_is_refused(
    tmp_path: Path, offset: int, limit: int | None
) -> None:
    with pytest.raises(UsageError, match="can't be negative"):
        read_log(tmp_path / "log", offset, limit)


@pytest.mark.parametrize("huge", [2**31, 2**63 - 1, 2**63, 2**70])
def test_behind_the_end_there_is_nothing_and_a_limit_is_no_size(tmp_path: Path, huge: int) -> None:
    (tmp_path / "log").write_bytes(b"text")
    chunk = read_log(tmp_path / "log", huge, huge)
    assert (chunk.data, chunk.next_offset) == (b"", huge)
    assert read_log(tmp_path / "log", 1, huge).data == b"ext"
