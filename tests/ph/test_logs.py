"""Logs: the very bytes into a file, no control of the terminal, and none lost with a connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_forge import Answer, branch_routes, following, lane, refusal, run
from ph.screen import LogFilter

if TYPE_CHECKING:
    from fake_forge import Ph, Serve

LOG = b"one\ntwo \xc3\xa4\xff\n\x1b[31mred\x1b[0m\r\n" * 400
ATTEMPTS = [{"number": 1}]


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
        assert ph(["logs", "7", "-f"]) == 0
    assert capfdbinary.readouterr().out == LOG


def test_a_follower_waits_for_the_lane_and_goes_on_with_the_next_attempt(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAIT_SECS", "LOOK_SECS"):
        monkeypatch.setattr(f"ph.commands.logs.{name}", 0.01)
    states = [
        lane(state="queued", sentence="waits for a free slot"),
        lane(state="running", attempts=ATTEMPTS),
        lane(state="queued", attempts=ATTEMPTS),
        lane(state="running", attempts=[*ATTEMPTS, {"number": 2}]),
        lane(state="success", attempts=[*ATTEMPTS, {"number": 2}]),
    ]
    routes = branch_routes(run())
    routes["GET lanes/7"] = [Answer({"run": run(), "lane": each}) for each in states]

    def log(asked: object) -> Answer:
        query = asked.query  # type: ignore[attr-defined]
        data = f"log of {query['attempt']}\n".encode()[int(query["offset"]) :]
        return Answer(data, 200, {"X-Over": "1"})

    routes["GET lanes/7/log"] = log
    with serve(routes):
        code, out, err = ph("logs", "7", "-f")
    assert (code, out) == (0, "log of 1\nlog of 2\n")
    assert err == "check queued: waits for a free slot\nattempt 2 of check\n"


def test_a_log_that_is_gone_is_told(ph: Ph, serve: Serve) -> None:
    gone = refusal(404, "the log was removed", "run it again")
    with serve({**branch_routes(run(lane())), "GET lanes/7/log": gone}):
        assert ph("logs", "7") == (2, "", "ph: the log was removed\nhint: run it again\n")


def test_a_terminal_gets_no_control_sequence(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    routes = branch_routes(run(lane(attempts=ATTEMPTS)))
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
