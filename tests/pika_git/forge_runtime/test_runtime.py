"""The service's loop, in its thread, over real repositories."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from forge_pushes import Pushes, make_bare
from pika_git.forge_runtime import poll as polling
from pika_git.forge_runtime.hook import install
from pika_git.forge_runtime.loop import Runtime
from pika_git.forge_runtime.registering import register
from pika_git.git import Repository
from pika_git.persistence import queue, refs, repos

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER_SECS = 3600.0


@pytest.fixture
def forge() -> Iterator[Pushes]:
    with tempfile.TemporaryDirectory(prefix="forge-") as directory:
        yield Pushes.below(Path(directory))


@contextmanager
def running(forge: Pushes, poll_secs: float = NEVER_SECS) -> Iterator[Runtime]:
    runtime = Runtime(forge.database, forge.data, poll_secs=poll_secs)
    thread = threading.Thread(target=runtime.run)
    thread.start()
    try:
        wait_for(forge.data.hook_socket.exists)
        yield runtime
    finally:
        runtime.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_a_push_is_heard_by_the_hook_and_its_lanes_are_queued(forge: Pushes) -> None:
    install(Repository(forge.bare), forge.data.hook_socket)
    with running(forge):
        forge.with_lanes()
        wait_for(lambda: forge.rows("SELECT 1 FROM lane"))
    (run,) = forge.runs()
    assert run.created_by not in {"", "a push"}
    assert forge.lanes() == {"unit": "queued", "docs": "queued"}


def test_a_push_without_a_hook_is_seen_by_the_poll(forge: Pushes) -> None:
    with running(forge, poll_secs=0.2):
        forge.commit_file("a")
        forge.push("HEAD:refs/heads/main")
        wait_for(lambda: [row for row in forge.runs() if row.state == "skipped"])
    assert forge.runs()[0].created_by == "a push"


def test_what_others_tell_of_a_push_has_the_refs_looked_at(forge: Pushes) -> None:
    with running(forge):
        head = forge.commit_file("a")
        forge.push("HEAD:refs/heads/main")
        with forge.database.write() as connection:
            told = {("refs/heads/main", head): "ann, by a merge"}
            refs.tell(connection, forge.repo_id, told, forge.database.clock(connection))
        wait_for(forge.runs)
        forge.commit_file("b")
        forge.push("HEAD:refs/heads/main")
        with forge.database.write() as connection:
            now = forge.database.clock(connection)
            refs.tell(connection, forge.repo_id, refs.ALL_REFS, now)
        wait_for(lambda: len(forge.runs()) == 2)
    assert [row.created_by for row in forge.runs()] == ["ann, by a merge", "a push"]
    assert forge.rows("SELECT * FROM push") == []


def test_an_error_in_one_repository_stops_no_other(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_bare(forge.bare.with_name("other.git"))
    bad = register(forge.database, "aaa", other)
    gone = make_bare(forge.bare.with_name("gone.git"))
    register(forge.database, "bbb", gone)
    gone.rename(gone.with_name("moved.git"))
    real = polling._poll

    def fails(database: object, repo: repos.Repo, repository: object) -> int:
        if repo.id == bad:
            raise ZeroDivisionError("of a test")
        return real(database, repo, repository)  # type: ignore[arg-type]

    monkeypatch.setattr(polling, "_poll", fails)
    with running(forge, poll_secs=0.2), caplog.at_level(logging.ERROR):
        forge.commit_file("a")
        forge.push("HEAD:refs/heads/main")
        wait_for(forge.runs)
        wait_for(lambda: "ZeroDivisionError" in caplog.text)
    problems = {row.name: row.problem for row in forge.rows("SELECT name, problem FROM repo")}
    assert "of a test" in problems["aaa"]
    assert problems["bbb"] == f"there is no directory {gone}"
    assert problems["demo"] is None


@pytest.mark.parametrize("ref", ["damaged", "not UTF-8"])
def test_a_ref_that_cant_be_read_keeps_no_night_from_running(forge: Pushes, ref: str) -> None:
    head = forge.with_lanes().git("rev-parse", "refs/heads/main")
    if ref == "damaged":
        (forge.bare / "refs/heads/x").write_text("junk\n")
    else:
        line = b"create refs/heads/\xff " + head.encode() + b"\n"
        forge.git("update-ref", "--stdin", stdin=line)
    with forge.database.write() as connection:
        connection.exec_driver_sql("UPDATE repo SET created_at = created_at - 2 * 86400")
    forge.poll()
    assert forge.repo.problem is not None
    with running(forge):
        wait_for(
            lambda: [
                run for run in forge.runs() if run.kind == "nightly" and run.state != "planning"
            ]
        )


def test_a_repository_that_hangs_keeps_no_other_waiting(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = register(forge.database, "slow", make_bare(forge.bare.with_name("slow.git")))
    real, let_go = polling._poll, threading.Event()

    def hangs(database: object, repo: repos.Repo, repository: object) -> int:
        if repo.id == slow:
            let_go.wait(60)
        return real(database, repo, repository)  # type: ignore[arg-type]

    monkeypatch.setattr(polling, "_poll", hangs)
    with running(forge, poll_secs=0.2):
        for number in range(6):
            forge.commit_file(f"{number}")
            forge.push("HEAD:refs/heads/main")
            wait_for(lambda: len(forge.runs()) > number)  # noqa: B023
        let_go.set()


def test_a_push_that_is_told_of_while_refs_are_read_is_seen(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Repository(forge.bare), forge.data.hook_socket)
    real, has_read, let_go = polling._poll, threading.Event(), threading.Event()

    def is_slow(database: object, repo: repos.Repo, repository: object) -> int:
        found = real(database, repo, repository)  # type: ignore[arg-type]
        has_read.set()
        let_go.wait(60)
        return found

    monkeypatch.setattr(polling, "_poll", is_slow)
    with running(forge):
        has_read.wait(60)
        forge.commit_file("a")
        forge.push("HEAD:refs/heads/main")
        wait_for(lambda: forge.rows("SELECT 1 FROM push"))
        time.sleep(0.2)
        let_go.set()
        wait_for(forge.runs, 5)


def test_a_database_that_is_away_is_said_once_and_then_all_is_seen(
    forge: Pushes, caplog: pytest.LogCaptureFixture
) -> None:
    path = forge.data.database
    with running(forge, poll_secs=0.1), caplog.at_level(logging.ERROR):
        wait_for(lambda: not forge.rows("SELECT 1 FROM push"))
        path.rename(path.with_name("away"))
        forge.commit_file("a")
        forge.push("HEAD:refs/heads/main")
        time.sleep(1.0)
        path.with_name("away").rename(path)
        wait_for(forge.runs)
    said = [record for record in caplog.records if "is gone" in record.getMessage()]
    assert len(said) in range(1, 4), said


def test_the_loop_is_idle_when_nothing_happens(forge: Pushes) -> None:
    with running(forge):
        time.sleep(1.0)
        before = time.process_time()
        time.sleep(2.0)
        assert time.process_time() - before < 0.2


def test_a_service_that_ends_leaves_nothing(forge: Pushes) -> None:
    with running(forge):
        pass
    assert not forge.data.hook_socket.exists()
    assert list(forge.data.wakes.iterdir()) == []
    with running(forge):
        pass


def test_a_service_that_ended_writes_into_no_file_that_was_opened_since(forge: Pushes) -> None:
    with running(forge) as runtime:
        pass
    kept = forge.data.root / "kept"
    with ExitStack() as opened:
        for _ in range(16):
            opened.enter_context(kept.open("w"))
        runtime.stop()
    assert kept.read_bytes() == b""


def test_hooks_are_heard_in_a_directory_with_a_long_name(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path / ("d" * 120))
    install(forge.repository, forge.data.hook_socket)
    with running(forge):
        forge.with_lanes()
        wait_for(forge.runs)


def test_lanes_that_wait_are_swept(forge: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[object] = []
    monkeypatch.setattr(queue, "sweep", swept.append)
    with running(forge):
        wait_for(lambda: swept)


def test_what_is_told_while_refs_are_read_is_looked_at_again(forge: Pushes) -> None:
    forge.commit_file("a")
    forge.push("HEAD:refs/heads/main")
    with forge.database.write() as connection:
        refs.tell(connection, forge.repo_id, refs.ALL_REFS, forge.database.clock(connection))
    with forge.database.read() as connection:
        told = refs.told(connection, forge.repo_id)
    with forge.database.write() as connection:
        later = forge.database.clock(connection) + 1
        refs.tell(connection, forge.repo_id, refs.ALL_REFS, later)
    with forge.database.write() as connection:
        refs.note(connection, forge.repo_id, {}, told, later)
        assert refs.told_repos(connection) == {forge.repo_id}
