"""Secrets are hidden in what jobs print, however it is cut into pieces."""

from __future__ import annotations

import base64
from itertools import pairwise
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from jerichoci.machine.redact import HIDDEN, SHORTEST, Redactor

SECRETS = st.binary(min_size=SHORTEST, max_size=30).filter(lambda value: len(value.strip()) > 5)
ANY = st.binary(max_size=40)


def redacted(secrets: list[bytes], pieces: list[bytes]) -> bytes:
    redactor = Redactor(secrets)
    return b"".join([*map(redactor.feed, pieces), redactor.end()])


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(SECRETS, ANY, ANY, st.lists(st.integers(0, 200), max_size=6))
def test_a_secret_is_hidden_wherever_the_output_is_cut(
    secret: bytes, before: bytes, after: bytes, cuts: list[int]
) -> None:
    found = redacted([secret], cut(before + secret + after, cuts))
    assert secret.strip() not in found
    assert HIDDEN in found


@given(SECRETS, ANY, ANY, st.lists(st.integers(0, 200), max_size=6))
def test_so_are_its_forms_in_base64_and_urls(
    secret: bytes, before: bytes, after: bytes, cuts: list[int]
) -> None:
    secret = secret.strip()
    encoded = base64.b64encode(before + secret + after)
    begin, end = (len(before) * 8 + 5) // 6, (len(before) + len(secret)) * 8 // 6
    for data, inside in (
        (encoded, encoded[begin:end]),
        (base64.urlsafe_b64encode(before + secret + after), None),
        (quote(secret, safe="").encode(), quote(secret, safe="").encode()),
        (quote_plus(secret).encode(), quote_plus(secret).encode()),
        (base64.b64encode(secret), base64.b64encode(secret).rstrip(b"=")),
    ):
        found = redacted([secret], cut(b"x" + data + b"y", cuts))
        assert HIDDEN in found
        if inside is not None:
            assert inside not in found


@given(ANY, st.lists(st.integers(0, 200), max_size=6))
def test_what_is_no_secret_stays_as_it_is(data: bytes, cuts: list[int]) -> None:
    assert redacted([b"\x00not in any of it\x00"], cut(data, cuts)) == data
    assert redacted([], cut(data, cuts)) == data


def test_each_line_of_a_secret_is_one() -> None:
    key = b"-----BEGIN KEY-----\nabcdefgh\nx\n-----END KEY-----\n"
    found = redacted([key], [b"line: abcdefgh\nx marks\n"])
    assert found == b"line: ***\nx marks\n"


def test_a_short_form_does_not_give_away_the_rest_of_a_longer_one() -> None:
    secrets = [b"abcdef", b"abcdefghij"]
    assert redacted(secrets, [b"x abcdef", b"ghij y"]) == b"x *** y"
    assert redacted(secrets, [b"x abcdef", b" y abcdef"]) == b"x *** y ***"
    assert redacted([b"xabc", b"abcdef"], [b"xabc", b"d"]) == b"***d"


def test_output_is_not_kept_back_longer_than_it_may_be_a_secret() -> None:
    redactor = Redactor([b"password"])
    assert redactor.feed(b"a line\npass") == b"a line\n"
    assert redactor.feed(b"ing by\n") == b"passing by\n"
