from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from forge_database import Forge
from pika_git.persistence import queue
from pika_git.persistence.wakes import Listener, wake

if TYPE_CHECKING:
    from pathlib import Path


class _FailedError(Exception):
    pass


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


def wakes(forge: Forge) -> Path:
    directory = forge.database.wakes
    assert directory is not None
    return directory


def is_woken(listener: Listener) -> bool:
    return select.select([listener], [], [], 0)[0] == [listener]


def test_a_commit_with_a_wake_reaches_each_listener(forge: Forge) -> None:
    with Listener(wakes(forge), "a") as a, Listener(wakes(forge), "b") as b:
        assert not is_woken(a)
        forge.push()
        assert is_woken(a)
        assert is_woken(b)
        a.drain()
        assert not is_woken(a)


def test_a_transaction_that_fails_wakes_none(forge: Forge) -> None:
    with Listener(wakes(forge), "a") as listener:
        with suppress(_FailedError), forge.database.write() as connection:
            wake(connection, "never mind", forge.now)
            raise _FailedError
        assert not is_woken(listener)
        forge.change("UPDATE repo SET paused = 0")
        assert not is_woken(listener)
    assert forge.all("SELECT * FROM wake") == []


def test_what_frees_a_slot_or_a_group_wakes(forge: Forge) -> None:
    forge.push()
    worker = forge.worker()
    claim = forge.take(worker)
    with Listener(wakes(forge), "a") as listener:
        forge.finish(claim)
        assert is_woken(listener)


def test_one_that_was_killed_and_one_that_does_not_read_disturb_none(forge: Forge) -> None:
    killed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    killed.bind(str(wakes(forge) / "killed.sock"))
    killed.close()
    with Listener(wakes(forge), "deaf"), Listener(wakes(forge), "b") as b:
        for _ in range(50):
            with forge.database.write() as connection:
                wake(connection, "again", forge.now)
        assert is_woken(b)
    with Listener(wakes(forge), "killed") as again:
        forge.push()
        assert is_woken(again)


def test_a_directory_with_a_long_name_has_sockets_as_well(tmp_path: Path) -> None:
    forge = Forge.in_directory(tmp_path / ("long-" * 30))
    with Listener(wakes(forge), "a") as listener:
        forge.push()
        assert is_woken(listener)
    assert list(wakes(forge).iterdir()) == []


def test_a_sweep_forgets_old_wakes(forge: Forge) -> None:
    forge.push()
    forge.pass_time(3601)
    queue.sweep(forge.database)
    assert all(row.at == forge.now for row in forge.all("SELECT at FROM wake"))
