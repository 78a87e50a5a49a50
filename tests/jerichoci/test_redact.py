"""Secrets in what a job prints."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.machine.redact import LEAST_BYTES, MARK, Redactor, forms


def redacted(secrets: list[bytes], *pieces: bytes) -> bytes:
    redactor = Redactor(secrets)
    return b"".join([*map(redactor.feed, pieces), redactor.finish()])


TOKEN = b"s3cr3t/t0ken+=&"


@pytest.mark.parametrize(
    "printed",
    [
        TOKEN,
        base64.b64encode(TOKEN),
        base64.urlsafe_b64encode(TOKEN),
        quote(TOKEN, safe="").encode(),
        quote(TOKEN, safe="").lower().encode(),
        quote_plus(TOKEN).encode(),
    ],
)
def test_a_secret_is_taken_out_in_each_way_of_writing_it(printed: bytes) -> None:
    assert redacted([TOKEN], b"it is " + printed + b".\n") in {b"it is ***.\n", b"it is ***=.\n"}


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:"])
def test_its_base64_is_taken_out_wherever_in_other_data_it_stands(before: bytes) -> None:
    printed = base64.b64encode(before + TOKEN + b"\n")
    left = redacted([TOKEN], printed)
    assert MARK in left
    assert len(left.replace(MARK, b"")) <= len(before) * 2 + 4


def test_each_line_of_a_secret_of_several_lines_is_taken_out() -> None:
    key = b"-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    printed = b"".join(b"  key> " + line + b"\r\n" for line in key.splitlines())
    assert redacted([key], printed) == b"  key> ***\r\n" * 4
    assert redacted([key], json.dumps(key.decode()).encode()) == b'"***\\n"'


def test_wrapped_base64_of_a_long_secret_is_taken_out() -> None:
    key = bytes(range(256))
    assert redacted([key], base64.encodebytes(key)).replace(MARK, b"").strip(b"\n=") == b""


def test_a_secret_that_is_the_beginning_of_another_leaves_nothing_of_it() -> None:
    assert redacted([b"abcd", b"abcdefgh"], b"abcd", b"efgh abcdef") == b"*** ***ef"


def test_what_can_not_be_a_secret_is_not_held_back() -> None:
    redactor = Redactor([b"token-1"])
    assert redactor.feed(b"progress 1") == b"progress 1"
    assert redactor.feed(b"a tok") == b"a "
    assert redactor.feed(b"yo") == b"tokyo"


def _cut(text: bytes, at: list[int]) -> list[bytes]:
    ends = [0, *sorted(each % (len(text) + 1) for each in at), len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


SECRETS = st.lists(st.binary(min_size=LEAST_BYTES, max_size=9), min_size=1, max_size=3)
FEW = st.lists(
    st.lists(st.sampled_from(b"ab\n"), min_size=LEAST_BYTES, max_size=9).map(bytes),
    min_size=1,
    max_size=3,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def expected(secrets: list[bytes], text: bytes) -> bytes:
    """What comes out, by its definition."""
    covered = bytearray(len(text))
    for form in set().union(*map(forms, secrets)):
        for at in range(len(text)):
            if text.startswith(form, at):
                covered[at : at + len(form)] = b"\1" * len(form)
    out = b""
    for at, byte in enumerate(text):
        if not covered[at]:
            out += bytes([byte])
        elif not at or not covered[at - 1]:
            out += MARK
    return out


@given(FEW, st.lists(st.sampled_from(b"ab\nYWFi"), max_size=60).map(bytes), CUTS)
def test_the_output_is_that_of_the_whole_however_it_is_cut(
    secrets: list[bytes], text: bytes, cuts: list[int]
) -> None:
    assert redacted(secrets, *_cut(text, cuts)) == expected(secrets, text)


@given(SECRETS, st.binary(max_size=40), st.binary(max_size=40), CUTS, st.data())
def test_no_form_of_a_secret_is_left(
    secrets: list[bytes], before: bytes, after: bytes, cuts: list[int], data: st.DataObject
) -> None:
    found = sorted(forms(data.draw(st.sampled_from(secrets))))
    if not found:
        return
    form = data.draw(st.sampled_from(found))
    left = redacted(secrets, *_cut(before + form + after, cuts))
    # What the mark completes to such a text by chance was not printed.
    assert not any(other in piece for piece in left.split(MARK) for other in found)


@given(st.binary(max_size=200).filter(lambda text: b"Q" not in text.upper()), CUTS)
def test_what_has_no_secret_in_it_is_left_as_it_is(text: bytes, cuts: list[int]) -> None:
    assert redacted([b"QQQQQQ"], *_cut(text, cuts)) == text
