from __future__ import annotations

import os
import random
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from event_stream import Event, EventStream
from forge_scenes import Scene, lane
from pika_git.web.streams import CHUNK_BYTES, Pace, cut
from served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika_git.forge_service.forge import Forge

LINES = "".join(f"line {number} of ünïcode ✓\n" for number in range(5000)).encode()


def make(scene: Scene, status: str = "running", log: bytes = b"", name: str = "a") -> Path:
    """A lane with a run; the path of its log."""
    if not scene.execute("SELECT count(*) FROM repo"):
        scene.branch(scene.repo(), "main")
    scene.run(1, [lane(name)])
    claim = scene.claim(scene.worker())
    root = scene.record(claim, status, log, begun=scene.now, secs=3.0)
    if status != "running":
        scene.finish(claim)
    return root / "jobs" / "test" / "attempts" / "1" / "host.log"


def finish(scene: Scene, log: Path) -> None:
    """Let the run of a log be over."""
    run = log.parents[4] / "run.json"
    run.write_text(run.read_text().replace('"status": "running"', '"status": "passed"'))
    scene.close()


def read_all(stream: EventStream) -> tuple[bytes, Event]:
    """All bytes, and the event that ended them."""
    data = b""
    for event in stream:
        if event.name == "message":
            assert event.data["offset"] == len(data)
            data += event.bytes
            assert event.id == len(data)
        elif not event.is_comment:
            return data, event
    raise AssertionError("the stream was cut")


def test_a_log_that_is_over_comes_whole_and_ends(served: Served, scene: Scene) -> None:
    make(scene, "passed", LINES)
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["x-accel-buffering"] == "no"
        data, end = read_all(stream)
    assert data == LINES
    assert (end.name, end.data) == ("end", {"size": len(LINES), "next_job_attempt": None})


def test_chunks_end_at_the_end_of_a_line(served: Served, scene: Scene) -> None:
    make(scene, "passed", LINES)
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        chunks = [event.bytes for event in stream if event.name == "message"]
    assert len(chunks) > 2
    assert all(chunk.endswith(b"\n") for chunk in chunks)


def test_a_follower_that_reconnects_at_each_chunk_gets_the_very_bytes(
    served: Served, scene: Scene
) -> None:
    noise = random.Random(7).randbytes(150_000)  # noqa: S311 - few newlines, no UTF-8
    path = make(scene, log=noise[:1000])
    writer = threading.Thread(target=trickle, args=(path, noise[1000:]))
    writer.start()
    caller, data, last = served.caller("read"), b"", None
    while len(data) < len(noise):
        with EventStream(caller, "/api/v1/lanes/1/log/stream", last) as stream:
            event = stream.next()
        data += event.bytes
        last = event.id
        assert last == len(data)
    writer.join()
    assert data == noise
    finish(scene, path)
    with EventStream(caller, "/api/v1/lanes/1/log/stream?offset=5", last) as stream:
        assert stream.next() == Event("end", None, {"size": len(noise), "next_job_attempt": None})


def trickle(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(data), 20_000):
            file.write(data[start : start + 20_000])
            time.sleep(0.03)


def test_each_line_is_seen_when_it_is_written(
    served: Served, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pika_git.web.streams.END_SECS", 3600.0)  # its growth alone tells
    path = make(scene)
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        for number in range(15):
            with path.open("ab") as file:
                file.write(b"%d\n" % number)
            assert stream.next().data["text"] == f"{number}\n"  # before the next one is written


def test_part_of_a_line_is_shown_but_no_part_of_a_character(served: Served, scene: Scene) -> None:
    path = make(scene)
    following = EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream")
    with following as stream, path.open("ab", buffering=0) as file:
        file.write("waiting ✓".encode()[:-1])
        assert stream.next().data == {"offset": 0, "text": "waiting "}
        file.write("✓".encode()[2:])
        assert stream.next().data == {"offset": 8, "text": "✓"}


def test_a_log_whose_records_are_removed_is_gone(served: Served, scene: Scene) -> None:
    path = make(scene, log=b"one\n")
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        assert stream.next().bytes == b"one\n"
        shutil.rmtree(path.parents[4])
        assert stream.next().name == "gone"
    assert served.caller("read").get("/api/v1/lanes/1/log").status_code == 200  # it may come yet
    scene.execute("UPDATE attempt SET state = 'failed'")
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        assert stream.next().name == "gone"
    assert served.caller("read").get("/api/v1/lanes/1/log").status_code == 410


def test_a_stream_waits_for_a_run_that_has_not_begun(served: Served, scene: Scene) -> None:
    scene.run(scene.branch(scene.repo(), "main"), [lane("a")])
    claim = scene.claim(scene.worker())
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        threading.Timer(
            0.3, lambda: scene.record(claim, "passed", b"hello\n", begun=scene.now, secs=1)
        ).start()
        assert read_all(stream)[0] == b"hello\n"


def test_another_try_at_the_job_is_another_log(served: Served, scene: Scene) -> None:
    path = make(scene, log=b"first\n")
    other = path.parents[1] / "2" / "host.log"
    other.parent.mkdir()
    other.write_bytes(b"second\n")
    (path.parents[2] / "status.json").write_text('{"attempt": 2, "status": "running"}')
    caller = served.caller("read")
    with EventStream(caller, "/api/v1/lanes/1/log/stream") as stream:
        data, end = read_all(stream)
    assert (data, end.data["next_job_attempt"]) == (b"first\n", 2)
    with EventStream(caller, "/api/v1/lanes/1/log/stream?job_attempt=2") as stream:
        assert stream.next().bytes == b"second\n"


def test_an_offset_needs_the_attempt_that_it_is_of(served: Served, scene: Scene) -> None:
    make(scene, "passed", b"first\n")
    scene.execute("UPDATE lane SET state = 'failed'")
    from pika_git.persistence import queue

    queue.requeue(scene.database, 1, "ann", "again")
    scene.claim(1)
    caller = served.caller("read")
    with EventStream(caller, "/api/v1/lanes/1/log/stream", 3) as stream:
        assert stream.response.status == 409
    with EventStream(caller, "/api/v1/lanes/1/log/stream?attempt=1", 3) as stream:
        assert stream.next().bytes == b"st\n"


@pytest.fixture
def quick(forge: Forge) -> Iterator[Served]:
    with serving(forge, Pace(comment_secs=0.2, send_secs=0.5)) as found:
        yield found


def test_a_stream_says_now_and_then_that_it_lives(quick: Served, scene: Scene) -> None:
    make(scene)
    with EventStream(quick.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        began = time.monotonic()
        assert [next(iter(stream)).is_comment for _ in range(3)] == [True] * 3
        assert time.monotonic() - began > 0.4  # it does not say so all the time


def test_a_token_that_is_revoked_ends_its_streams(quick: Served, scene: Scene) -> None:
    path = make(scene, log=b"one\n")
    number, secret = quick.token("read")
    with EventStream(quick.with_token(secret), "/api/v1/lanes/1/log/stream") as stream:
        assert stream.next().bytes == b"one\n"
        quick.caller("admin").send("DELETE", f"/api/v1/tokens/{number}")
        assert stream.next().name == "revoked"
        path.write_bytes(b"one\nsecret\n")
        assert list(stream) == []


def test_a_follower_that_never_reads_is_left_and_takes_no_memory(
    quick: Served, scene: Scene
) -> None:
    path = make(scene)
    path.write_bytes(b"x" * 99 + b"\n" * 1)
    with path.open("ab") as file:
        for _ in range(64):
            file.write((b"y" * 99 + b"\n") * 10_000)
    with socket.create_connection(("127.0.0.1", int(quick.url.rpartition(":")[2]))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller = quick.caller("read")
        client.sendall(
            b"GET /api/v1/lanes/1/log/stream HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: " + caller.headers["Authorization"].encode() + b"\r\n\r\n"
        )
        time.sleep(0.3)
        before = resident()
        time.sleep(1.0)
        assert resident() - before < 4 * 1024 * 1024
        assert caller.get("/api/v1/whoami").status_code == 200
        until = time.monotonic() + 10
        while quick.app.state.growth.followers and time.monotonic() < until:
            time.sleep(0.05)
        assert quick.app.state.growth.followers == 0


def resident() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_streams_end_when_the_service_does(forge: Forge, scene: Scene) -> None:
    make(scene, log=b"one\n")
    with serving(forge) as served:
        stream = EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream")
        assert stream.next().bytes == b"one\n"
    with stream:
        assert list(stream) == []


def test_a_stream_holds_no_connection_to_the_database(forge: Forge, scene: Scene) -> None:
    make(scene, log=b"one\n")
    with serving(forge) as served:
        stream = EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream")
        with stream:
            assert stream.next().bytes == b"one\n"
            assert forge.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", ["offset=-1", "offset=x", "kind=both", "attempt=0", "offset=9e9"])
def test_a_query_that_makes_no_sense_is_refused(served: Served, scene: Scene, query: str) -> None:
    make(scene)
    answer = served.caller("read").get(f"/api/v1/lanes/1/log/stream?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


def test_a_last_event_id_that_is_no_offset_is_refused(served: Served, scene: Scene) -> None:
    make(scene)
    caller = served.caller("read")
    answer = caller.get("/api/v1/lanes/1/log/stream", headers={"Last-Event-ID": "../1"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"a\nb", b"a\n"),
        (b"abc", b"abc"),
        ("a✓".encode()[:-1], b"a"),
        ("a✓".encode()[:-2], b"a"),
        ("𝄞".encode()[:3], b""),
        (b"a\xff", b"a\xff"),
        (b"\x80\x80", b"\x80\x80"),
        (b"", b""),
    ],
)
def test_where_bytes_are_cut(data: bytes, sent: bytes) -> None:
    assert cut(data) == sent
    assert cut(data, is_end=True) in {data, sent}


def test_a_long_line_comes_in_parts(served: Served, scene: Scene) -> None:
    line = "✓".encode() * CHUNK_BYTES
    make(scene, "passed", line)
    with EventStream(served.caller("read"), "/api/v1/lanes/1/log/stream") as stream:
        chunks = [event for event in stream if event.name == "message"]
    assert b"".join(event.bytes for event in chunks) == line
    assert all("base64" not in event.data for event in chunks)
