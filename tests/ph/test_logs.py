"""Logs: the very bytes into a file, no control of the terminal, and none lost with a connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_forge import Answer, Asked, branch_routes, following, lane, refusal, run
from ph.screen import LogFilter

if TYPE_CHECKING:
    from fake_forge import Ph, Serve

LOG = b"one\ntwo \xc3\xa4\xff\n\x1b[31mred\x1b[0m\r\n" * 400
ATTEMPTS = [{"number": 1, "pikaci_run_id": "r"}]


def test_a_log_is_printed_as_it_is(ph: Ph, serve: Serve) -> None:
    routes = branch_routes(run(lane()))
    routes["GET lanes/7/log"] = following(b"abc\n" * 99, chunk=7, drop=lambda _: False)
    with serve(routes):
        assert ph("logs", "7") == (0, "abc\n" * 99, "")
        assert ph("logs", "7", "--offset", "392")[1] == "abc\n"


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_follower_that_loses_its_connection_gets_the_very_bytes(
    serve: Serve, capfdbinary: pytest.CaptureFixture[bytes], every: int
) -> None:
    from ph.cli import run as ph

    routes = branch_routes(run(lane(attempts=ATTEMPTS)))
    routes["GET lanes/7/log"] = following(LOG, chunk=1000, drop=lambda n: n % (every + 1) == 0)
    with serve(routes):
        assert ph(["logs", "7", "-f", "--kind", "host"]) == 0
    assert capfdbinary.readouterr().out == LOG


def test_a_follower_waits_for_the_lane_and_goes_on_with_the_next_attempt(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAIT_SECS", "LOOK_SECS"):
        monkeypatch.setattr(f"ph.following.{name}", 0.01)
    states = [
        lane(state="queued", sentence="waits for a free slot"),
        lane(state="running", attempts=ATTEMPTS),
        lane(state="queued", attempts=ATTEMPTS),
        lane(state="running", attempts=[*ATTEMPTS, {"number": 2}]),
        lane(state="success", attempts=[*ATTEMPTS, {"number": 2}]),
    ]
    routes = branch_routes(run())
    routes["GET lanes/7"] = [Answer({"run": run(), "lane": each}) for each in states]

    def log(asked: Asked) -> Answer:
        query = asked.query
        if query["kind"] == "guest":
            return Answer(b"", 200, {"X-Over": "true"})
        data = f"log of {query['attempt']}\n".encode()[int(query["offset"]) :]
        return Answer(data, 200, {"X-Over": "true"})

    routes["GET lanes/7/log"] = log
    with serve(routes):
        code, out, err = ph("logs", "7", "-f")
    assert (code, out) == (0, "log of 1\nlog of 2\n")
    assert err == "check queued: waits for a free slot\nattempt 2 of check\n"


def test_a_follower_goes_from_a_try_at_a_job_to_the_next(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ph.following.LOOK_SECS", 0.01)
    newest = iter(["1", "2", "2"])

    def log(asked: Asked) -> Answer:
        which = asked.query.get("job_attempt") or next(newest)
        data = f"try {which}\n".encode()[int(asked.query["offset"]) :]
        return Answer(data, 200, {"X-Over": "true", "X-Job-Attempt": which})

    routes = {**branch_routes(run(lane(attempts=ATTEMPTS))), "GET lanes/7/log": log}
    with serve(routes):
        assert ph("logs", "7", "-f", "--kind", "host")[1] == "try 1\ntry 2\n"


def test_a_follower_waits_for_the_runs_first_job(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ph.following.LOOK_SECS", 0.01)
    routes = branch_routes(run())
    states = ["running", "running", "success"]
    routes["GET lanes/7"] = [
        Answer({"run": run(), "lane": lane(state=state, attempts=ATTEMPTS)}) for state in states
    ]
    log = following(b"at last\n", chunk=99, drop=lambda _: False)
    answers = iter([refusal(404, "run r has no job yet")])
    routes["GET lanes/7/log"] = lambda asked: next(answers, None) or log(asked)
    with serve(routes):
        assert ph("logs", "7", "-f", "--kind", "host") == (0, "at last\n", "")


def test_of_several_jobs_the_failed_one_is_shown(ph: Ph, serve: Serve) -> None:
    jobs = [{"id": "lint", "status": "passed"}, {"id": "unit", "status": "failed"}]
    routes = {**branch_routes(run(lane(attempts=ATTEMPTS))), "GET pikaci/runs/r": {"jobs": jobs}}
    routes["GET lanes/7/log"] = following(b"x\n", chunk=9, drop=lambda _: False)
    with serve(routes) as forge:
        assert ph("logs", "7") == (0, "x\n", "job unit; --job names another: lint\n")
        assert forge.asked[-1].query["job"] == "unit"


def test_a_log_that_is_gone_is_told(ph: Ph, serve: Serve) -> None:
    gone = refusal(404, "the log was removed", "run it again")
    with serve({**branch_routes(run(lane())), "GET lanes/7/log": gone}):
        assert ph("logs", "7") == (2, "", "ph: the log was removed\nhint: run it again\n")


def test_a_terminal_gets_no_control_sequence(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    routes = branch_routes(run(lane()))
    routes["GET lanes/7/log"] = following(LOG + b"\x1b[3", chunk=5, drop=lambda _: False)
    with serve(routes):
        _, out, _ = ph("logs", "7")
    assert out == "one\ntwo ä\ufffd\nred\n" * 400 + "[3"


@given(st.lists(st.text(alphabet="ab\n\r\x1b[]0;m\x07\\P\x9b\x9d\u202e"), max_size=8))
def test_a_filter_passes_nothing_that_controls_however_the_text_is_cut(parts: list[str]) -> None:
    own = LogFilter()
    text = "".join([*map(own.feed, parts), own.end()])
    assert not set(text) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160)]))


PIECES = ["a", "\n", "\r", "\x1b", "[", "3", "m", "]", "\x07", "\x1b[31m", "\x1b(B", "\x1b]0;t\x07"]
PIECES += ["\x9b", "\x9d", "\\", "\x1bP"]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.integers(0, 20))
def test_a_filter_says_the_same_wherever_the_text_is_cut(text: str, at: int) -> None:
    whole, cut = LogFilter(), LogFilter()
    once = whole.feed(text) + whole.end()
    assert cut.feed(text[:at]) + cut.feed(text[at:]) + cut.end() == once
