"""What a guest may leave in its /artifacts, and what the host takes of it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.errors import InfrastructureError
from jerichoci.machine import outbox
from jerichoci.machine.outbox import RESULT_BYTES, OutboxFollower, copy_outbox, follow_outbox

PASSED = {"status": "passed", "exit_code": 0}


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A guest's /artifacts."""
    (tmp_path / "outbox/files").mkdir(parents=True)
    return tmp_path / "outbox"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Where the host takes what it takes."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host's."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o640)
    return tmp_path / "secret"


def lay(kind: str, path: Path, secret: Path) -> None:
    """Put what is no file where one is expected."""
    match kind:
        case "link":
            path.symlink_to(secret)
        case "dangling":
            path.symlink_to("gone")
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "file":
            path.touch()


def taken(left: Path, into: Path) -> list[str]:
    return [artifact.path for artifact in copy_outbox(left, into)]


def beside(into: Path) -> set[str]:
    return {path.name for path in into.iterdir()}


async def follow(left: Path, log: Path) -> dict[str, object]:
    async with asyncio.timeout(20), follow_outbox(left, log) as followed:
        return await followed.result()


# Files


@pytest.mark.parametrize("kind", ["nothing", "link", "fifo", "file"])
def test_files_that_is_no_directory_is_nothing(
    left: Path, into: Path, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("x")
    assert taken(left, into) == []
    (left / "files").rmdir()
    lay(kind, left / "files", tmp_path / "elsewhere")
    assert taken(left, into) == []
    assert beside(into) == set()


# What the runner writes


@pytest.mark.parametrize(("name", "limit"), [("result.json", 2**16), ("events.jsonl", 2**22)])
def test_the_runners_records_are_copied_if_they_are_files_and_cut(
    left: Path, into: Path, secret: Path, name: str, limit: int
) -> None:
    path = left / name
    for kind in ("link", "fifo", "directory"):
        lay(kind, path, secret)
        copy_outbox(left, into)
        assert not (into / name).exists()
        path.rename(left / kind)
    path.write_text("{}\n")
    path.chmod(0o6777)
    copy_outbox(left, into)
    assert (into / name).read_text() == "{}\n"
    assert stat.S_IMODE((into / name).stat().st_mode) == 0o644
    os.truncate(path, 2**40)
    copy_outbox(left, into)
    assert (into / name).stat().st_size == limit


async def test_a_result_is_waited_for(left: Path, tmp_path: Path) -> None:
    async def write() -> None:
        await asyncio.sleep(0.05)
        (left / ".result.json.tmp").write_text(json.dumps(PASSED)[:5])
        await asyncio.sleep(0.05)
        (left / ".result.json.tmp").write_text(json.dumps(PASSED))
        (left / ".result.json.tmp").rename(left / "result.json")

    writing = asyncio.ensure_future(write())
    assert await follow(left, tmp_path / "log") == PASSED
    await writing


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"status": 1}',
        b'{"status": null}',
        b"[" * 60_000,
        b'{"status": "passed", "more": "' + b"x" * RESULT_BYTES + b'"}',
        b"1" * 10_000,
    ],
)
async def test_an_invalid_result_is_an_error_of_the_guests(
    left: Path, tmp_path: Path, data: bytes
) -> None:
    (left / "result.json").write_bytes(data)
    with pytest.raises(InfrastructureError, match=r"result\.json") as caught:
        await follow(left, tmp_path / "log")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory"])
async def test_what_is_no_file_is_no_result(
    left: Path, tmp_path: Path, secret: Path, kind: str
) -> None:
    secret.write_text(json.dumps(PASSED))
    path = left / "result.json"
    lay(kind, path, secret)
    async with follow_outbox(left, tmp_path / "log") as followed:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await followed.result()


# The log


async def test_the_log_is_whole_when_the_result_is_there_and_goes_to_the_end_of_ours(
    left: Path, tmp_path: Path
) -> None:
    (left / "guest.log").write_bytes(b"one\n\xff\xfe\0no end")
    (left / "result.json").write_text(json.dumps(PASSED))
    for count in (1, 2):
        await follow(left, tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == b"one\n\xff\xfe\0no end" * count
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


async def test_what_the_log_grows_by_is_copied_once(left: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with follow_outbox(left, log) as followed:
        assert not await followed.copy_log()
        with (left / "guest.log").open("ab", buffering=0) as file:
            for part in (b"one\n", b"\xff", b"\xfe half a li", b"ne\n"):
                file.write(part)
                for _ in range(2):
                    assert not await followed.copy_log()
                assert log.read_bytes() == (left / "guest.log").read_bytes()


async def test_what_is_printed_after_the_result_is_copied_at_the_end(
    left: Path, tmp_path: Path
) -> None:
    (left / "guest.log").write_text("before\n")
    (left / "result.json").write_text(json.dumps(PASSED))
    async with follow_outbox(left, tmp_path / "log") as followed:
        await followed.result()
        with (left / "guest.log").open("a") as file:
            file.write("after\n")
    assert (tmp_path / "log").read_text() == "before\nafter\n"


async def test_a_copy_that_was_not_waited_for_is_not_made_twice(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = OutboxFollower._append

    def slowly(follower: OutboxFollower, data: bytes) -> None:
        time.sleep(0.01)
        append(follower, data)

    monkeypatch.setattr(outbox, "LOG_BYTES", 1)
    monkeypatch.setattr(OutboxFollower, "_append", slowly)
    (left / "guest.log").write_bytes(bytes(range(50)))
    async with follow_outbox(left, tmp_path / "log") as followed:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(followed.result(), 0.1)
    assert (tmp_path / "log").read_bytes() == bytes(range(50))


async def test_a_copy_ends_before_its_files_are_closed(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def slowly(_follower: OutboxFollower, data: bytes) -> None:
        time.sleep(0.2)
        ended.append(data)

    monkeypatch.setattr(OutboxFollower, "_append", slowly)
    (left / "guest.log").write_bytes(bytes(50))

    async def follow_in_vain() -> None:
        async with follow_outbox(left, tmp_path / "log") as followed:
            async with asyncio.timeout(0.1):
                await followed.result()

    with pytest.raises(TimeoutError):
        await follow_in_vain()
    assert len(ended) == 1


async def test_a_log_that_is_replaced_goes_on_where_the_first_one_was_open(
    left: Path, tmp_path: Path, secret: Path
) -> None:
    (left / "guest.log").write_text("first\n")
    async with follow_outbox(left, tmp_path / "log") as followed:
        await followed.copy_log()
        (left / "guest.log").rename(left / "moved")
        (left / "guest.log").symlink_to(secret)
        with (left / "moved").open("a") as file:
            file.write("still first\n")
        await followed.copy_log()
    assert (tmp_path / "log").read_text() == "first\nstill first\n"


async def test_a_log_that_is_truncated_keeps_what_was_copied(left: Path, tmp_path: Path) -> None:
    (left / "guest.log").write_text("a long line\n")
    async with follow_outbox(left, tmp_path / "log") as followed:
        await followed.copy_log()
        os.truncate(left / "guest.log", 0)
        assert not await followed.copy_log()
        (left / "guest.log").write_text("x\n")
        assert not await followed.copy_log()
    assert (tmp_path / "log").read_text() == "a long line\n"


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory"])
async def test_a_log_that_is_no_file_is_not_read(
    left: Path, tmp_path: Path, secret: Path, kind: str
) -> None:
    path = left / "guest.log"
    lay(kind, path, secret)
    (left / "result.json").write_text(json.dumps(PASSED))
    assert await follow(left, tmp_path / "log") == PASSED
    assert (tmp_path / "log").read_bytes() == b""


async def test_a_log_on_a_full_disk_is_an_error_of_the_system(left: Path, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    (left / "guest.log").write_text("x")
    with pytest.raises(OSError, match="No space left"):
        await follow(left, tmp_path / "log")


async def test_an_outbox_that_is_a_link_is_refused(left: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(left)
    with pytest.raises(OSError, match="Not a directory"):
        await follow(tmp_path / "link", tmp_path / "log")


@given(st.lists(st.binary(max_size=50) | st.just(b""), max_size=20), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_any_growth_in_any_pieces_is_copied_exactly_once(parts: list[bytes], step: int) -> None:
    async def run(directory: Path) -> None:
        (directory / "out").mkdir()
        async with follow_outbox(directory / "out", directory / "log") as followed:
            with (directory / "out/guest.log").open("ab", buffering=0) as file:
                for part in parts:
                    file.write(part)
                    while await followed.copy_log():
                        pass
        assert (directory / "log").read_bytes() == b"".join(parts)

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(outbox, "LOG_BYTES", step)
        asyncio.run(run(Path(directory)))
