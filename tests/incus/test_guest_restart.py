"""incusd is restarted, or can't be reached for a while: a job ends as it would have, with its log
complete and once.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import (
    GuestRunner,
    Json,
    assert_nothing_is_left,
    ending,
    guest_job,
    let_go,
    make_guests,
    outbox,
    until,
)
from incus.guest_proxy import Fate, Proxy, proxy_to
from jerichoci.runtime.incus.client import CUT_OFF_LIMIT
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from incus.server import IncusServer
    from runner import Runner

AWAY_SECS = 1.5
LINES = 2000
COMMAND = f"seq {LINES}; {until('go')}; seq {LINES + 1} {2 * LINES}; exit 3"
CREATE, WAIT = ("POST", "instances"), ("GET", "operations/.*/wait")
EXEC, STOP = ("POST", "instances/.*/exec"), ("PUT", "instances/.*/state")
LOOK = ("GET", ".+")


@pytest.fixture
def guests(
    runner: Runner, incus_server: IncusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    return make_guests(runner, incus_server, tmp_path, monkeypatch)


@pytest.fixture
def proxy(incus_server: IncusServer) -> Iterator[Proxy]:
    with proxy_to(incus_server.socket, incus_server.directory / "proxy") as proxy:
        yield proxy


def assert_ended_as_it_would_have(guests: GuestRunner, record: Json) -> None:
    assert (record["status"], record["failure_kind"]) == ("failed", "test_failure"), record["cause"]
    assert (record["exit_code"], record["attempt"]) == (3, 1)
    assert guests.log() == "".join(f"{number}\n" for number in range(1, 2 * LINES + 1))
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNANSWERED])
@pytest.mark.parametrize("request_", [LOOK, CREATE, WAIT, EXEC, STOP])
def test_a_request_that_is_cut_off_changes_nothing(
    guests: GuestRunner, proxy: Proxy, request_: tuple[str, str], fate: Fate
) -> None:
    doom = proxy.doom(*request_, fate)
    record = guests.at(proxy.path).run(guest_job("a", COMMAND.replace(until("go"), "true")))
    assert doom.met == 1
    assert_ended_as_it_would_have(guests, record)


def run_disturbed(
    guests: GuestRunner, begun: Callable[[], bool], disturb: Callable[[], None]
) -> Json:
    """Run the job with a disturbance as soon as something has begun."""
    with ending(guests.start(guest_job("a", COMMAND))) as process:
        wait_for(begun)
        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        let_go(guests.state.root, "a", RUN_ID)
        process.wait(90)
        disturbing.join()
    (record,) = guests.record()["jobs"]
    return dict(record)


def seen(proxy: Proxy, request: tuple[str, str]) -> Callable[[], bool]:
    return lambda: proxy.has_seen(" ".join(request))


@pytest.mark.parametrize("begun", [CREATE, EXEC])
def test_incus_can_be_out_of_reach_while_a_guest_is_made(
    guests: GuestRunner, proxy: Proxy, begun: tuple[str, str]
) -> None:
    record = run_disturbed(
        guests.at(proxy.path), seen(proxy, begun), lambda: proxy.be_away(AWAY_SECS)
    )
    assert_ended_as_it_would_have(guests, record)


def test_incus_can_be_out_of_reach_when_a_guest_is_to_go(guests: GuestRunner, proxy: Proxy) -> None:
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        let_go(guests.state.root, "a", RUN_ID)
        wait_for(seen(proxy, STOP))
        proxy.be_away(AWAY_SECS)
        process.wait(90)
    (record,) = guests.record()["jobs"]
    assert_ended_as_it_would_have(guests, record)


def test_a_job_needs_no_connection_while_it_runs(guests: GuestRunner, proxy: Proxy) -> None:
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        wait_for(lambda: guests.begins("wait_for_completion"))
        proxy.close()
        proxy.cut()
        let_go(guests.state.root, "a", RUN_ID)
        wait_for((outbox(guests.state.root, "a", RUN_ID) / "result.json").exists)
        wait_for(lambda: guests.begins("cleanup"))
        proxy.open()
        process.wait(90)
    (record,) = guests.record()["jobs"]
    assert_ended_as_it_would_have(guests, record)


@pytest.mark.parametrize("begun", [CREATE, WAIT, EXEC])
def test_incus_may_be_restarted_while_a_guest_is_made(
    guests: GuestRunner, proxy: Proxy, begun: tuple[str, str]
) -> None:
    record = run_disturbed(guests.at(proxy.path), seen(proxy, begun), guests.server.restart)
    assert_ended_as_it_would_have(guests, record)


def test_incus_may_be_restarted_while_the_job_runs(guests: GuestRunner) -> None:
    begun = (outbox(guests.state.root, "a", RUN_ID) / "files").is_dir
    record = run_disturbed(guests, begun, guests.server.restart)
    assert_ended_as_it_would_have(guests, record)


def test_incus_may_be_killed_while_the_job_runs(guests: GuestRunner) -> None:
    def kill() -> None:
        os.kill(guests.server.pid, signal.SIGKILL)
        guests.server.restart()

    begun = (outbox(guests.state.root, "a", RUN_ID) / "files").is_dir
    record = run_disturbed(guests, begun, kill)
    assert_ended_as_it_would_have(guests, record)


class Ending:
    """An incusd that is told to end while it runs a command for somebody, and stays till then."""

    def __init__(self, server: IncusServer) -> None:
        self._server = server
        server.incus("launch", "--quiet", server.image_alias, "other")
        self._client = server.begin("exec", "other", "--", "sh", "-c", "echo on; sleep 600")
        assert self._client.stdout is not None
        assert self._client.stdout.readline() == b"on\n"
        self._was_told = False

    def tell(self) -> None:
        """Have it refuse all changes."""
        self._was_told = True
        os.kill(self._server.pid, signal.SIGTERM)
        change = ("config", "set", "other", "user.x=1")
        wait_for(lambda: "Shutting down" in self._server.refusal(*change))

    def restart(self) -> None:
        """End the command, and have another incusd after this one."""
        if self._client.returncode is None:
            self._client.kill()
            self._client.communicate()
        if self._was_told:
            self._was_told = False
            self._server.restart()
            self._server.incus("delete", "--force", "other")


@pytest.fixture
def told(incus_server: IncusServer) -> Iterator[Ending]:
    ending = Ending(incus_server)
    yield ending
    ending.restart()


def count(proxy: Proxy, request: tuple[str, str]) -> int:
    return sum(bool(re.fullmatch(" ".join(request), seen)) for seen in list(proxy.seen))


def test_a_guest_is_made_by_the_incus_that_comes_after_one_that_is_ending(
    guests: GuestRunner, proxy: Proxy, told: Ending
) -> None:
    told.tell()
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        wait_for(lambda: count(proxy, CREATE) > CUT_OFF_LIMIT)
        told.restart()
        let_go(guests.state.root, "a", RUN_ID)
        process.wait(90)
    (record,) = guests.record()["jobs"]
    assert_ended_as_it_would_have(guests, record)


def test_a_run_ends_with_the_incus_that_comes_after_one_that_is_ending(
    guests: GuestRunner, proxy: Proxy, told: Ending
) -> None:
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        wait_for(lambda: guests.begins("wait_for_completion"))
        told.tell()
        let_go(guests.state.root, "a", RUN_ID)
        wait_for(lambda: count(proxy, STOP) > 2)
        assert guests.record()["status"] == "running"
        told.restart()
        process.wait(90)
    (record,) = guests.record()["jobs"]
    assert_ended_as_it_would_have(guests, record)
