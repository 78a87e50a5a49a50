from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pika_git.forge_service.log_view import Part
from pika_git.web.log_html import MOST_ESCAPE, LogHtml, last_within, to_html, within
from pika_git.web.pages.render import log_pieces

PARTS = st.sampled_from(
    [
        *("a", "é", "<b>", "&", "\n", "\r", "\b", "\t", "\x1b", "\x1b[", "[", "31", "m", "K", ";"),
        *("\x1b[31m", "\x1b[0m", "\x1b[1;4m", "\x1b[38;5;200m", "\x1b[7m", "\x1b[K", "\x1b[2K"),
        *("\x1b]8;;http://e.org\x07", "\x1b\\", "\x07", "\x00", "https://e.org/a?b=1&c", "\u202e"),
    ]
)


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def test_colours_go_on_over_chunks_and_lines() -> None:
    converter = LogHtml()
    found = [converter.feed(part) for part in (b"\x1b[3", b"1mred\nstill", b"\x1b[0m no\n")]
    assert "".join(found) == ('<span class="f1">red</span>\n<span class="f1">still</span> no\n')


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("1;31", "f1 a-bold"),
        ("91", "f9"),
        ("41", "g1"),
        ("38;5;196", "f9"),
        ("38;5;250", "f7"),
        ("38;2;0;0;250", "f4"),
        ("38:5:2", "f2"),
        ("48;5;22", "g0"),
        ("7", "f16 g17"),
        ("31;7", "f16 g1"),
        ("1;3;4;9", "a-bold a-italic a-strike a-underline"),
    ],
)
def test_a_style_is_classes(codes: str, classes: str) -> None:
    assert to_html(f"\x1b[{codes}mx".encode()) == f'<span class="{classes}">x</span>'


@pytest.mark.parametrize("codes", ["0", "", "39", "99", "38;5", "1;22", "4;24", "9999"])
def test_what_is_no_style_or_ends_one_is_plain(codes: str) -> None:
    assert to_html(f"\x1b[{codes}mx".encode()) == "x"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("10%\r20%\r100%\n", "100%\n"),
        ("working\rdone\x1b[K\n", "done\n"),
        ("abc\r\x1b[2Kx\n", "x\n"),
        ("abc\x1b[2K\b\x1b[2Kx\x1b[2Ky\n", "   y\n"),
        ("ab\bc\n", "ac\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[2J\x1b[1;1Hx\x1b(B\n", "x\n"),
        ("\x1b]0;title\x07x\x1b]8;;https://e.org\x1b\\link\x1b]8;;\x1b\\\n", "xlink\n"),
        ("\x00\x7f\n", "\u2400\u2421\n"),
        ("a\u202eb\n", "a\ufffdb\n"),
    ],
)
def test_a_terminal_would_show_the_same(printed: str, shown: str) -> None:
    assert text_of(to_html(printed.encode())) == shown


def test_only_web_addresses_become_links() -> None:
    found = to_html(b'see https://e.org/a?b=1&c=2). javascript:alert(1) ftp://e.org "http://x"\n')
    assert re.findall(r'href="([^"]*)"', found) == ["https://e.org/a?b=1&amp;c=2", "http://x"]
    assert "</a>)." in found


def test_an_escape_that_never_ends_becomes_text() -> None:
    converter = LogHtml()
    found = converter.feed(b"\x1b]" + b"x" * (MOST_ESCAPE + 10) + b"\n")
    assert "x" * MOST_ESCAPE in found


@given(st.lists(PARTS, max_size=40), st.randoms(use_true_random=False))
def test_chunks_show_what_the_whole_shows(parts: list[str], random: object) -> None:
    data = "".join(parts).encode()
    converter, found, at = LogHtml(), "", 0
    while at < len(data):
        size = random.randint(1, 7)  # type: ignore[attr-defined]
        found += converter.feed(data[at : at + size])
        at += size
    assert found + converter.end() == to_html(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_markup_that_is_whole(data: bytes) -> None:
    found = to_html(data)
    opened = re.findall(r"<(/?)(span|a)\b[^<>]*>", found)
    depth = 0
    for close, _ in opened:
        depth += -1 if close else 1
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"<(?!/?(span|a)\b)", found)


@given(st.lists(st.sampled_from([b"<" * 50, b"a\n", b"\n", b"x" * 300 + b"\n"]), max_size=30))
def test_a_budget_is_kept_and_says_how_far_it_came(lines: list[bytes]) -> None:
    data = b"".join(lines)
    found, taken = within(data, 900)
    assert len(found) <= 900 or data.count(b"\n") <= 1
    assert taken <= len(data)
    assert not data or taken > 0
    end, left_out = last_within(data, 900)
    assert len(end) <= 900 or left_out


def test_an_escape_with_thousands_of_digits_is_text() -> None:
    assert to_html(b"\x1b[" + b"1" * 5000 + b"mred\n").endswith("1mred\n")


@pytest.mark.parametrize("between", [b"", b"x", b"\b"])
def test_a_long_line_that_is_erased_again_and_again_takes_no_long_time(between: bytes) -> None:
    begun = time.process_time()
    to_html(b"a" * 16_000 + (b"\x1b[2K" + between) * 100_000)
    assert time.process_time() - begun < 5


def test_a_line_that_is_written_over_is_one_line_within_a_budget() -> None:
    log = b"10%\r20%\r100%\nnext\n"
    assert within(log, 1000) == (to_html(log), len(log)) == ("100%\nnext\n", len(log))


def test_a_log_that_is_long_as_html_still_has_its_end() -> None:
    line = b"\x1b[32mok\x1b[0m \x1b[1mtest\x1b[0m \x1b[33mslow\x1b[0m \x1b[31mx\x1b[0m\n"
    data = line * 1200
    first, last = log_pieces([Part(7, data + b"error\n")], is_short=False)
    assert first.begin == 7
    assert first.end <= last.begin
    assert last.end == 7 + len(data) + len(b"error\n")
    assert last.html.endswith("error\n")
    assert len(log_pieces([Part(0, b"one\n")], is_short=False)) == 1
    assert log_pieces([Part(0, b"one\n")], is_short=True)[0].html == "one\n"
