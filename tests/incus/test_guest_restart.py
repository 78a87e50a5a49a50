"""incusd is restarted, or can't be reached for a while: a job ends as it would have, with its log
complete and once.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import (
    GuestRunner,
    assert_nothing_is_left,
    ending,
    guest_job,
    let_go,
    outbox,
    until,
)
from incus.guest_proxy import Fate, Proxy
from jerichoci.runtime.incus.client import CUT_OFF_LIMIT
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from incus.server import IncusServer

AWAY_SECS = 1.5
LINES = 2000
COMMAND = f"seq {LINES}; {until('go')}; seq {LINES + 1} {2 * LINES}; exit 3"
CREATE, WAIT = "POST instances", "GET operations/.*/wait"
EXEC, STOP = "POST instances/.*/exec", "PUT instances/.*/state"
LOOK = "GET .+"


def assert_ended_as_it_would_have(guests: GuestRunner) -> None:
    (record,) = guests.record()["jobs"]
    assert (record["status"], record["failure_kind"]) == ("failed", "test_failure"), record["cause"]
    assert (record["exit_code"], record["attempt"]) == (3, 1)
    assert guests.log() == "".join(f"{number}\n" for number in range(1, 2 * LINES + 1))
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNANSWERED])
def test_requests_that_are_cut_off_change_nothing(
    told_guests: GuestRunner, proxy: Proxy, fate: Fate
) -> None:
    dooms = [proxy.doom(request, fate) for request in (LOOK, CREATE, WAIT, EXEC, STOP)]
    told_guests.at(proxy.path).run(guest_job("a", COMMAND.replace(until("go"), "true")))
    assert [doom.met for doom in dooms] == [1] * len(dooms)
    assert_ended_as_it_would_have(told_guests)


def run_disturbed(
    guests: GuestRunner, begun: Callable[[], object], disturb: Callable[[], None]
) -> None:
    """Run the job with a disturbance as soon as something has begun, to its usual end."""
    with ending(guests.start(guest_job("a", COMMAND))) as process:
        wait_for(begun)
        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        let_go(guests.state.root, "a", RUN_ID)
        process.wait(90)
        disturbing.join()
    assert_ended_as_it_would_have(guests)


def test_incus_can_be_out_of_reach_while_a_guest_is_made(guests: GuestRunner, proxy: Proxy) -> None:
    run_disturbed(
        guests.at(proxy.path), lambda: proxy.count(CREATE), lambda: proxy.be_away(AWAY_SECS)
    )


def test_incus_can_be_out_of_reach_when_a_guest_is_to_go(guests: GuestRunner, proxy: Proxy) -> None:
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        let_go(guests.state.root, "a", RUN_ID)
        wait_for(lambda: proxy.count(STOP))
        proxy.be_away(AWAY_SECS)
        process.wait(90)
    assert_ended_as_it_would_have(guests)


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
    assert_ended_as_it_would_have(guests)


@pytest.mark.parametrize("begun", [CREATE, WAIT, EXEC])
def test_incus_may_be_restarted_while_a_guest_is_made(
    told_guests: GuestRunner, proxy: Proxy, begun: str
) -> None:
    restart = told_guests.server.restart
    run_disturbed(told_guests.at(proxy.path), lambda: proxy.count(begun), restart)


@pytest.mark.parametrize("killed", [False, True])
def test_incus_may_be_restarted_or_killed_while_the_job_runs(
    guests: GuestRunner, *, killed: bool
) -> None:
    def disturb() -> None:
        if killed:
            os.kill(guests.server.pid, signal.SIGKILL)
        guests.server.restart()

    run_disturbed(guests, (outbox(guests.state.root, "a", RUN_ID) / "files").is_dir, disturb)


class Ending:
    """An incusd that is told to end while it runs a command, and runs until that ends."""

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
        said = wait_for(lambda: self._server.refusal(*change))
        if "is shutting down" in said or "appear to be started" in said:  # 7.0
            pytest.skip(f"this Incus kills the commands in guests and ends at once: {said}")
        assert "Shutting down" in said

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


def test_a_guest_is_made_by_the_incus_that_comes_after_one_that_is_ending(
    guests: GuestRunner, proxy: Proxy, told: Ending
) -> None:
    told.tell()
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        wait_for(lambda: proxy.count(CREATE) > CUT_OFF_LIMIT)
        told.restart()
        let_go(guests.state.root, "a", RUN_ID)
        process.wait(90)
    assert_ended_as_it_would_have(guests)


def test_a_run_ends_with_the_incus_that_comes_after_one_that_is_ending(
    guests: GuestRunner, proxy: Proxy, told: Ending
) -> None:
    with ending(guests.at(proxy.path).start(guest_job("a", COMMAND))) as process:
        wait_for(lambda: guests.begins("wait_for_completion"))
        told.tell()
        let_go(guests.state.root, "a", RUN_ID)
        wait_for(lambda: proxy.count(STOP) > 2)
        assert guests.record()["status"] == "running"
        told.restart()
        process.wait(90)
    assert_ended_as_it_would_have(guests)
