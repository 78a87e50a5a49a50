from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jerichoci.nix.builds import Build, Builds
from jerichoci.nix.log import (
    LONGEST_LINE,
    LogLine,
    Message,
    Progress,
    Started,
    Stopped,
    cut_line,
    parse_line,
    read_lines,
)
from jerichoci.nix.realised import Activity, joined

ACTION = st.sampled_from(["start", "stop", "result", "msg", "later"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def line(**values: object) -> bytes:
    return b"@nix " + json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("values", "event"),
    [
        (
            {"action": "start", "id": 1, "type": 105, "fields": ["/nix/store/a.drv", "", 1, 1]},
            Started(1, 105, "/nix/store/a.drv"),
        ),
        ({"action": "start", "id": 1}, Started(1, 0, "")),
        ({"action": "stop", "id": 1}, Stopped(1)),
        ({"action": "result", "id": 1, "type": 101, "fields": ["x"]}, LogLine(1, "x")),
        ({"action": "msg", "level": 0, "msg": "a\x1b[31;1mb\x1b[0m"}, Message(0, "ab", "ab")),
        ({"action": "msg", "level": 0, "msg": "long", "raw_msg": "a"}, Message(0, "long", "a")),
        ({"action": "later"}, None),
    ],
)
def test_each_action_is_read(values: dict[str, object], event: object) -> None:
    assert parse_line(line(**values)) == event


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:secret@host/x", "http://***@host/x"),
        ("git+https://secret@host", "git+https://***@host"),
        ("ssh-ng://user:secret@host", "ssh-ng://user:***@host"),
        ("git+ssh://git@host/x", "git+ssh://git@host/x"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_a_message_has_no_credentials_of_an_address(address: str, shown: str) -> None:
    said = parse_line(line(action="msg", level=0, msg=f"unable to download '{address}'"))
    assert isinstance(said, Message)
    assert said.text == said.raw == f"unable to download '{shown}'"
    plain = parse_line(f"error: no {address}".encode())
    assert isinstance(plain, Message)
    assert plain.text == f"error: no {shown}"


def test_a_line_that_is_not_structured_is_a_warning_or_an_error_of_nix() -> None:
    for level, text in ((0, "error: no daemon"), (1, "warning: unknown setting 'x'")):
        assert parse_line(f"{text}\n".encode()) == Message(level, text, text)
    assert parse_line(b"\n") is None
    assert parse_line(b'@nix {"action":') is None


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ACTION, st.dictionaries(st.sampled_from(["id", "type", "fields", "level", "msg"]), JSON))
def test_no_line_is_an_error_of_ours(action: str, values: dict[str, object]) -> None:
    parse_line(line(action=action, **values))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary())
def test_no_bytes_are_an_error_of_ours(data: bytes) -> None:
    parse_line(b"@nix " + data)
    parse_line(data)


DRV = "/nix/store/8sz6nqwbf9m27kr1d9daw8c53ck01l8r-p.drv"
MISMATCH = f"""hash mismatch in fixed-output derivation '{DRV}':
  specified: sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
     got:    sha256-mOpuTyFvL7S2n/+bOkSELDhobKaF8/VdxIxdP7EQe+Q="""
NO_JOBS_2_26 = """
                    Unable to start any build;
                    either increase '--max-jobs' or enable remote builds.

                    For more information run 'man nix.conf' and search for '/machines'.
                    """
SAID = [
    # as Nix 2.26 and 2.34 say it; the sentence that is made of it
    (f"builder for '{DRV}' failed with exit code 1",) * 2,
    (
        f"Cannot build '{DRV}'.\nReason: builder failed with exit code 1.\nOutput paths:\n  /nix/x",
        f"Cannot build '{DRV}': builder failed with exit code 1",
    ),
    (
        f"Cannot build '{DRV}'.\nReason: platform mismatch\nRequired system: 'a'\nCurrent: 'b'",
        f"Cannot build '{DRV}': platform mismatch; Required system: 'a'; Current: 'b'",
    ),
    (
        MISMATCH,
        (
            f"hash mismatch in fixed-output derivation '{DRV}':"
            " specified: sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            " got: sha256-mOpuTyFvL7S2n/+bOkSELDhobKaF8/VdxIxdP7EQe+Q="
        ),
    ),
    (
        "output '/nix/store/y' is not allowed to refer to the following paths:\n  /nix/store/x",
        "output '/nix/store/y' is not allowed to refer to the following paths: /nix/store/x",
    ),
    (
        NO_JOBS_2_26,
        (
            "Unable to start any build; either increase '--max-jobs' or enable remote builds."
            " For more information run 'man nix.conf' and search for '/machines'."
        ),
    ),
    # as they come from a daemon
    (
        (
            f"error: builder for '{DRV}' failed with exit code 1;\n       last 2 log lines:\n"
            f"       > one\n       > two\n       For full logs, run:\n         nix log {DRV}"
        ),
        f"builder for '{DRV}' failed with exit code 1",
    ),
    (
        (
            f"Cannot build '{DRV}'.\nReason: builder failed with exit code 1.\nOutput paths:\n"
            f"  /nix/x\nLast 1 log lines:\n> Reason: none\nFor full logs, run:\n  nix log {DRV}"
        ),
        f"Cannot build '{DRV}': builder failed with exit code 1",
    ),
    # as flakes and servers say it
    ("one\n  two\nthree", "one two three"),
    ("\n1\n2\n3\n4\n5\n6", "1 2 3 4 5 ..."),
    (
        "unable to download: HTTP error 404\n\nresponse body:\n\n<html>",
        "unable to download: HTTP error 404",
    ),
    ("interrupted by the user",) * 2,
    ("", "Nix gave no reason"),
]


@pytest.mark.parametrize(("raw", "sentence"), SAID)
def test_an_error_is_told_in_one_sentence(raw: str, sentence: str) -> None:
    assert Message(0, raw, raw).sentence == sentence


def test_an_error_names_store_paths_and_the_hash_that_an_output_has() -> None:
    said = Message(0, MISMATCH, MISMATCH)
    assert said.named == {"8sz6nqwbf9m27kr1d9daw8c53ck01l8r-p.drv"}
    assert said.got_hash == "sha256-mOpuTyFvL7S2n/+bOkSELDhobKaF8/VdxIxdP7EQe+Q="
    quoted = f"failed;\nlast 1 log lines:\n> {DRV} got: sha256-AAAA=\n"
    assert Message(0, quoted, quoted).named == frozenset()
    assert Message(0, quoted, quoted).for_people == "failed"
    other = "     got: nothing of that kind"
    assert Message(0, other, other).got_hash is None


@pytest.mark.parametrize("text", ["x", 'a"b\\', "é😀", "\x1b\u2028", '"],"id":7'])
@pytest.mark.parametrize("shift", range(8))
async def test_a_line_that_is_too_long_is_cut_and_says_so(text: str, shift: int) -> None:
    said = "y" * shift + text * (2 * LONGEST_LINE // len(text.encode()))
    data = line(action="result", fields=[said], id=12, level=0, type=101)
    stream = asyncio.StreamReader()
    stream.feed_data(b"first\n" + data + b"\nlast")
    stream.feed_eof()
    first, cut, last = [row async for row in read_lines(stream)]
    assert (first, last) == (b"first", b"last")
    found = parse_line(cut)
    assert isinstance(found, LogLine)
    assert found.id == 12
    begins, _, mark = found.text.rpartition(" ... [cut: ")
    assert said.startswith(begins)
    assert mark == f"this line has {len(data)} bytes]"


def test_a_message_and_a_plain_line_can_be_cut_too() -> None:
    head = line(action="msg", level=0, msg="it is so" + "x" * 90)[:80]
    found = parse_line(cut_line(head, b'xx","raw_msg":"xx"}', 5000))
    assert isinstance(found, Message)
    assert "it is so" in found.raw
    assert "this line has 5000 bytes" in found.raw
    assert cut_line(b"plain", b"end", 9) == b"plain ... [cut: this line has 9 bytes]"


BEGIN = (Started(1, 104, ""), Started(5, 105, DRV), Progress(1, 0, 1, 0))


def ended(*events: object) -> Builds:
    seen = Builds()
    for event in (*BEGIN, *events):
        seen.note(event)  # type: ignore[arg-type]  # all are events
    return seen


def test_a_build_that_fails_is_counted_and_one_that_is_given_up_is_not() -> None:
    assert ended(Progress(1, 0, 0, 1), Stopped(5)).over[0].is_counted
    assert not ended(Stopped(5), Stopped(1)).over[0].is_counted
    # Something else failed, without being begun.
    assert not ended(Progress(1, 0, 1, 1), Stopped(5)).over[0].is_counted


def test_builds_that_end_at_once_are_all_taken_for_the_one_that_failed() -> None:
    two = (Started(6, 105, "/nix/store/b.drv"), Progress(1, 0, 2, 0))
    seen = ended(*two, Progress(1, 0, 1, 1), Progress(1, 1, 0, 1), Stopped(6), Stopped(5))
    assert [build.is_counted for build in seen.over] == [True, True]
    seen = ended(*two, Progress(1, 0, 1, 1), Stopped(5), Stopped(6), Stopped(1))
    assert [build.is_counted for build in seen.over] == [True, False]


def test_a_nix_that_is_killed_does_not_say_that_it_is_done() -> None:
    assert ended().is_cut
    assert not ended(Stopped(5), Stopped(1)).is_cut


def store_path(name: str) -> str:
    return f"/nix/store/{'0' * 32}-{name}"


def test_what_nix_does_now_is_named_without_hashes() -> None:
    fetched = (Started(7, 108, store_path("glibc-2.40")), Started(8, 108, store_path("gone")))
    seen = ended(
        Stopped(5), Started(9, 105, store_path("gcc-14.2.drv")), *fetched, Stopped(8),
        Progress(1, 1, 1, 0, 7),
    )  # fmt: skip
    assert seen.activity == Activity(("gcc-14.2",), ("glibc-2.40",), built=1, to_build=7)


def test_what_gathers_the_outputs_that_are_asked_for_is_not_named() -> None:
    asked = store_path("pikaci-prepares.drv")
    seen = Builds(asked)
    for event in (Started(1, 104, ""), Started(2, 105, asked), Progress(1, 3, 1, 0, 4)):
        seen.note(event)
    assert seen.activity == Activity(built=3, to_build=3)


def test_what_hosts_say_that_they_do_is_bounded() -> None:
    much = Activity(("x" * 10_000,) * 1000, ("y",), built=1, to_build=2)
    found = joined([much, Activity(("z",), ("z",), built=3, to_build=4)])
    assert (found.built, found.to_build, found.fetching) == (4, 6, ("y", "z"))
    assert len("".join(found.building)) < 10_000


LIMITED = [
    # how long it ran and was silent; Nix 2.26's words and 2.34's; which limit it was
    (2.1, 0.1, "building of '{}^out' from .drv file timed out after 2 seconds", "timeout"),
    (2.1, 0.1, "timed out after 2 seconds", "timeout"),
    (9.0, 3.1, "building of '{}' timed out after 3 seconds of silence", "max-silent-time"),
    (9.0, 3.1, "timed out after 3 seconds", "max-silent-time"),
    (2.02, 2.01, "timed out after 2 seconds", "timeout"),
    (0.5, 0.5, "building derivation '{}' killed after writing more than 20000 bytes of log output",
     "max-build-log-size"),
    (0.1, 0.1, "builder for '{}' failed with exit code 2", None),
    (1.9, 1.9, "builder for '{}' failed with exit code 1", None),
    (2.5, 2.5, MISMATCH, None),
]  # fmt: skip


@pytest.mark.parametrize(("ran", "silent", "said", "limit"), LIMITED)
@pytest.mark.parametrize("asked", [True, False], ids=["here", "in a daemon"])
def test_which_limit_of_nix_ended_a_build(
    ran: float, silent: float, said: str, limit: str | None, *, asked: bool
) -> None:
    raw = said.format(DRV) if "{}" in said else said
    build = Build(DRV, 0.0, ran - silent, ended=ran, errors=[Message(0, raw, raw)])
    limits = {"timeout": 2, "max-silent-time": 3, "max-build-log-size": 20000}
    expected = None if limit is None else (limit, limits[limit])
    assert build.exceeded(limits if asked else dict.fromkeys(limits, 0)) == expected
