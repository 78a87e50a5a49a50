from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.nixlog import LogLine, Message, Started, Stopped, parse_line

ACTION = st.sampled_from(["start", "stop", "result", "msg", "later"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def line(**values: object) -> bytes:
    return b"@nix " + json.dumps(values).encode()


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


def test_a_line_that_is_not_structured_is_an_error_of_nix() -> None:
    assert parse_line(b"error: no daemon\n") == Message(0, "error: no daemon", "error: no daemon")
    assert parse_line(b"\n") is None


def test_a_broken_line_is_passed_over() -> None:
    assert parse_line(b'@nix {"action":') is None


@given(ACTION, st.dictionaries(st.sampled_from(["id", "type", "fields", "level", "msg"]), JSON))
def test_no_line_is_an_error_of_ours(action: str, values: dict[str, object]) -> None:
    parse_line(line(action=action, **values))


@given(st.binary())
def test_no_bytes_are_an_error_of_ours(data: bytes) -> None:
    parse_line(b"@nix " + data)
    parse_line(data)
