from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pikaci.attest.check import verified_statement
from pikaci.attest.envelope import NotVerifiedError, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STATEMENT: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {"runDetails": {"metadata": {"invocationId": "20260131T235959Z-0123abcd"}}},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def line_of(payload: bytes) -> bytes:
    return json.dumps(sign(payload, KEY)).encode()


def refusal(line: bytes) -> str:
    with pytest.raises(NotVerifiedError) as refused:
        verified_statement(line, KEY.public_key())
    return refused.value.message


def test_what_the_key_signed_is_accepted() -> None:
    line = line_of(json.dumps(STATEMENT).encode())
    assert verified_statement(line, KEY.public_key()) == STATEMENT


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_no_bit_of_the_payload_can_be_changed(position: int, bit: int) -> None:
    envelope = sign(json.dumps(STATEMENT).encode(), KEY)
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[position % len(payload)] ^= 1 << bit
    envelope["payload"] = base64.b64encode(payload).decode()
    assert "no signature in it is of the key SHA256:" in refusal(json.dumps(envelope).encode())


@given(line=st.binary(max_size=64) | json_values.map(lambda values: json.dumps(values).encode()))
def test_what_is_no_envelope_is_refused_in_a_sentence(line: bytes) -> None:
    assert refusal(line)


@given(key=st.sampled_from(["payload", "payloadType", "signatures"]), value=json_values)
def test_an_envelope_with_a_damaged_field_is_refused(key: str, value: object) -> None:
    envelope = {**sign(json.dumps(STATEMENT).encode(), KEY), key: value}
    assert refusal(json.dumps(envelope).encode())


@given(key=st.sampled_from([*STATEMENT]), value=json_values)
def test_a_signed_statement_that_is_none_is_refused(key: str, value: object) -> None:
    if key == "predicate" and value:
        value = {"runDetails": value}
    assert refusal(line_of(json.dumps({**STATEMENT, key: value}).encode()))


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{" * 2000])
def test_a_signed_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    assert "what is signed is no JSON object" in refusal(line_of(payload))
