"""What becomes of a call when the server, or what is between, misbehaves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from fake_forge import DROPPED, Answer, refusal

if TYPE_CHECKING:
    from fake_forge import Ph, Serve

ME = {"name": "ann", "role": "admin"}


def test_a_call_has_the_token_and_says_who_it_is(ph: Ph, serve: Serve) -> None:
    with serve({"GET whoami": ME}) as forge:
        assert ph("whoami") == (0, f"ann, role admin at {forge.url}\n", "")
        assert forge.asked[0].token == "Bearer ph_secret"  # noqa: S105 - a test's


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (refusal(401, "log in first", "`ph login`"), 4, "ph: log in first\nhint: `ph login`\n"),
        (refusal(403, "this needs admin"), 4, "ph: this needs admin\n"),
        (refusal(404, "there is no such thing"), 2, "ph: there is no such thing\n"),
        (refusal(409, "it is over"), 1, "ph: it is over\n"),
        (refusal(422, "why: missing"), 2, "ph: why: missing\n"),
        (refusal(500, "the forge failed"), 75, "ph: the forge failed\n"),
    ],
)
def test_each_refusal_has_its_exit_code_and_sentence(
    ph: Ph, serve: Serve, answer: Answer, code: int, said: str
) -> None:
    with serve({"GET whoami": answer}):
        assert ph("whoami") == (code, "", said)


def test_an_error_page_of_something_between_is_told_by_its_status(ph: Ph, serve: Serve) -> None:
    with serve({"GET whoami": Answer(b"<html>Bad Gateway", 500)}) as forge:
        assert ph("whoami") == (75, "", f"ph: {forge.url} answered 500\n")


def test_a_dropped_connection_is_tried_again(ph: Ph, serve: Serve) -> None:
    with serve({"GET whoami": [DROPPED, Answer(ME, cut=5), Answer(status=503), Answer(ME)]}):
        assert ph("whoami")[0] == 0


def test_a_server_that_is_not_there_is_lost(ph: Ph, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PH_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("PH_TOKEN", "ph_x")
        code, _, err = ph("whoami")
    assert code == 75
    assert "Connection refused" in err


def test_what_changes_something_is_sent_once(ph: Ph, serve: Serve) -> None:
    with serve({"POST queue/pause": DROPPED}) as forge:
        assert ph("queue", "pause", "--why", "x")[0] == 75
        assert len(forge.asked) == 1


def test_the_token_follows_no_redirect(ph: Ph, serve: Serve) -> None:
    away = Answer(b"", 302, {"Location": "http://elsewhere.example/\x1b[2J"})
    with serve({"GET whoami": away}) as forge:
        code, _, err = ph("whoami")
        assert (code, len(forge.asked)) == (2, 1)
        assert "sends its callers to http://elsewhere.example/" in err
        assert "\x1b" not in err


def test_an_answer_without_end_is_not_read_to_its_end(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ph.server.MOST_BYTES", 1000)
    with serve({"GET whoami": Answer(b"x" * 2000)}):
        assert ph("whoami")[0] == 2


def test_something_that_is_no_forge_is_told(ph: Ph, serve: Serve) -> None:
    with serve({"GET whoami": Answer(b"<html>hello")}):
        code, _, err = ph("whoami")
    assert code == 2
    assert "is no JSON" in err


def test_no_escape_sequence_of_the_server_reaches_the_terminal(ph: Ph, serve: Serve) -> None:
    evil = "\x1b]0;owned\x07\x1b[2Ja\u202eb\x9b31m"
    with serve({"GET whoami": {"name": evil, "role": evil}}):
        _, out, _ = ph("whoami")
        _, as_json, _ = ph("whoami", "--json")
    with serve({"GET whoami": refusal(409, evil, evil)}):
        _, _, err = ph("whoami")
    for text in (out, as_json, err):
        assert all(char == "\n" or char.isprintable() for char in text), text


def test_without_a_server_or_a_token_the_settings_are_told(
    ph: Ph, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ph("whoami")[0] == 2
    monkeypatch.setenv("PH_URL", "http://127.0.0.1:1")
    assert ph("whoami")[0] == 4
    monkeypatch.setenv("PH_URL", "ftp://x")
    monkeypatch.setenv("PH_TOKEN", "ph_x")
    assert ph("whoami")[0] == 2
