"""What may reach a screen of what others print."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pikaci.screen import as_utf8, one_line, shown

RED = "\x1b[31m"
END = "\x1b[0m"


@pytest.mark.parametrize(
    ("printed", "plain", "coloured"),
    [
        ("plain\ttext é 日本", "plain\ttext é 日本", "plain\ttext é 日本"),
        (f"{RED}red", "red", f"{RED}red{END}"),
        ("\x1b[1;38;5;8mgrey", "grey", f"\x1b[1;38;5;8mgrey{END}"),
        ("\x1b[38:2::1:2:3mrgb", "rgb", f"\x1b[38:2::1:2:3mrgb{END}"),
        ("\x1b[8mhidden", "hidden", "hidden"),
        ("\x1b[0;8mhidden", "hidden", "hidden"),
        ("\x1bc\x1b[?1049h\x1b[2J\x1b[Hthere", "there", "there"),
        ("\x1b[6n\x1b[>c\x1b[!p\x1b[ qthere", "there", "there"),
        ("\x1b]0;a title\x07text", "text", "text"),
        ("\x1b]0;a title\x1b\\text", "text", "text"),
        ("\x1b]0;the reason", "the reason", "the reason"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link", "link"),
        ("\x1bPq#0;2;0\x1b\\text", "text", "text"),
        ("\x1bktitle\x1b\\text", "text", "text"),
        ("\x9b2Jtext\x9d\x84", "text", "text"),
        ("\x1b(0lqk\x1b(B\x0e\x0f", "lqk", "lqk"),
        ("\x1b#8\x1b7\x1b8\x1b=\x1b>text", "text", "text"),
        ("bell\x07 back\x08 nul\x00 del\x7f\x0b\x0c", "bell back nul del", "bell back nul del"),
        ("cut \x1b", "cut ", "cut "),
        ("cut \x1b[", "cut ", "cut "),
        ("cut \x1b[31", "cut ", "cut "),
        (" 1%\r 2%\r 3%", " 3%", " 3%"),
        ("text\r", "text", "text"),
        ("text\r\x1b[K", "text", "text"),
        (f"text\r{RED}{END}  ", "text", "text"),
        ("", "", ""),
        ("\r\r", "", ""),
    ],
)
def test_a_screen_gets_text_and_at_most_colours(printed: str, plain: str, coloured: str) -> None:
    assert shown(printed) == plain
    assert shown(printed, colours=True) == coloured


@given(st.text(st.sampled_from("\x1b[]0;8m?hJKP\\\x07\x9b\x9c\r\tx \x08"), max_size=40))
def test_nothing_else_gets_through(printed: str) -> None:
    text = shown(printed, colours=True)
    assert not re.search(r"[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]", text)
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;:]*m", "", text)
    assert "\x1b" not in shown(printed)


def test_a_sentence_is_one_line() -> None:
    assert as_utf8("é\udce9\n") == "é\\xe9\n"
    assert one_line(" é\udce9\n\x1b[31m\u2028x\n") == " é\\xe9\\n\\x1b[31m\\u2028x"
