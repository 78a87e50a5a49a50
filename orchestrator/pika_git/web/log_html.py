r"""Log bytes to HTML, a chunk at a time.

- SGR (colours, bold, ...) becomes classes; its state continues over chunks. The 256 and 16 million
  colours become the nearest of 16, which have enough contrast in each theme.
- `\r` goes back to the line's beginning and what follows is written over it; `\b` one character;
  `ESC [ K` erases. Other escapes are left out, other control characters are made visible.
- `http` and `https` addresses become links, and nothing else does.
- An escape that isn't finished after MOST_ESCAPE characters is text; a line past MOST_LINE
  characters is let go as far as it is.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field, replace
from itertools import groupby

from markupsafe import escape

MOST_ESCAPE = 256
MOST_LINE = 16 * 1024

_TOKEN = re.compile(
    r"\x1b\[([0-9;:?<=>]{0,240})[ -/]{0,8}([@-~])"  # CSI: parameters, final
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and its like, with a text
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
    r"|([\r\n\b])"
    r"|([^\x1b\r\n\b]+)"
)
_CONTROL = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    # They would change the order in which the rest of the line is shown.
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
}
_LINK = re.compile(r"https?://[^\s<>\"'`\x00-\x1f\u2400-\u2421]+")
_AFTER_LINK = ".,;:!?)]}"
_BASE = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)
_CUBE = (0, 95, 135, 175, 215, 255)
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF = {
    22: ("bold", "dim"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("strike",),
}


@dataclass(frozen=True)
class Style:
    """How text is shown; colours are numbers from 0 to 15."""

    front: int | None = None
    back: int | None = None
    flags: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        """The classes of `style.css`."""
        front, back = self.front, self.back
        if "inverse" in self.flags:
            front, back = (16 if back is None else back), (17 if front is None else front)
        names = [] if front is None else [f"f{front}"]
        names += [] if back is None else [f"g{back}"]
        return " ".join([*names, *sorted(f"a-{flag}" for flag in self.flags - {"inverse"})])


PLAIN = Style()


@dataclass
class LogHtml:
    """Converts one log, or a part of one that begins at a line's start."""

    _style: Style = PLAIN
    _chars: list[str] = field(default_factory=list)
    _styles: list[Style] = field(default_factory=list)
    _column: int = 0
    _blank: int = 0  # so many characters from the beginning were erased, and not written over
    _rest: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def feed(self, data: bytes) -> str:
        """The HTML of all lines that are complete by now."""
        return self._convert(self._rest + self._decoder.decode(data))

    def end(self) -> str:
        """The HTML of what is left."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        said = self._convert(rest)
        if self._rest:
            self._write(self._rest)
            self._rest = ""
        return said + self._line()

    def _convert(self, text: str) -> str:
        said, at = [], 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:  # an escape that isn't whole
                if len(text) - at <= MOST_ESCAPE:
                    break
                self._write(text[at])
                at += 1
                continue
            at = token.end()
            parameters, final, control, plain = token.groups()
            if plain is not None:
                self._write(plain)
            elif control == "\n":
                said.append(self._line() + "\n")
            elif control is not None:
                self._column = 0 if control == "\r" else max(0, self._column - 1)
            elif final == "m":
                self._style = _styled(self._style, parameters)
            elif final == "K":
                self._erase(parameters)
            if len(self._chars) > MOST_LINE:
                said.append(self._line())
        self._rest = text[at:]
        return "".join(said)

    def _write(self, text: str) -> None:
        end = self._column + len(text)
        self._chars[self._column : end] = text
        self._styles[self._column : end] = [self._style] * len(text)
        self._blank = min(self._blank, self._column)
        self._column = end

    def _erase(self, parameters: str) -> None:
        if parameters in {"", "0"}:
            del self._chars[self._column :], self._styles[self._column :]
        elif parameters == "2":
            kept = min(self._blank, self._column)
            self._chars[kept:] = " " * (self._column - kept)
            self._styles[kept:] = [PLAIN] * (self._column - kept)
            self._blank = self._column

    def _line(self) -> str:
        chars, styles = self._chars, self._styles
        self._chars, self._styles, self._column, self._blank = [], [], 0, 0
        if len(set(styles)) <= 1:
            return _shown("".join(chars), styles[0] if styles else PLAIN)
        runs = groupby(zip(styles, chars, strict=True), key=lambda each: each[0])
        return "".join(_shown("".join(char for _, char in run), style) for style, run in runs)


def to_html(data: bytes) -> str:
    """The HTML of a part of a log that begins at a line's start."""
    converter = LogHtml()
    return converter.feed(data) + converter.end()


def within(data: bytes, budget: int) -> tuple[str, int]:
    """HTML of at most `budget` characters, and how many bytes it stands for."""
    converter, room = LogHtml(), budget
    said: list[str] = []
    taken = 0
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        html = (
            converter.feed(line) if line.endswith(b"\n") else converter.feed(line) + converter.end()
        )
        if len(html) > room and said:
            break
        if len(html) > room:  # one line alone is too much: its plain text, cut
            html = str(escape(line[: room // 8].decode("utf-8", "replace"))) + "…\n"
        said.append(html)
        room -= len(html)
        taken += len(line)
    return "".join(said), taken


def last_within(data: bytes, budget: int) -> tuple[str, int]:
    """HTML of at most `budget` characters of the end, and how many bytes were left out before."""
    left_out = 0
    while len(html := to_html(data[left_out:])) > budget:
        middle = left_out + (len(data) - left_out) // 2
        next_line = data.find(b"\n", middle) + 1
        if not 0 < next_line < len(data):
            return within(data[middle:], budget)[0], middle
        left_out = next_line
    return html, left_out


def _shown(text: str, style: Style) -> str:
    html = _linked(text.translate(_CONTROL))
    return f'<span class="{style.classes}">{html}</span>' if style.classes and html else html


def _linked(text: str) -> str:
    said, at = [], 0
    for found in _LINK.finditer(text):
        link = found.group().rstrip(_AFTER_LINK)
        said.append(str(escape(text[at : found.start()])))
        shown = escape(link)
        said.append(f'<a href="{shown}" rel="noopener noreferrer nofollow">{shown}</a>')
        at = found.start() + len(link)
    return "".join([*said, str(escape(text[at:]))])


def _styled(style: Style, parameters: str) -> Style:
    numbers = [int(each) if each.isdigit() else 0 for each in re.split("[;:]", parameters)]
    while numbers:
        number = numbers.pop(0)
        if number == 0:
            style = PLAIN
        elif number in _ON:
            style = replace(style, flags=style.flags | {_ON[number]})
        elif number in _OFF:
            style = replace(style, flags=style.flags - set(_OFF[number]))
        elif number in {38, 48}:
            colour = _extended(numbers)
            if colour is not None:
                style = _coloured(style, colour, is_back=number == 48)  # noqa: PLR2004 - ECMA-48's number
        elif number in {39, 49}:
            style = _coloured(style, None, is_back=number == 49)  # noqa: PLR2004 - likewise
        else:
            style = _basic(style, number)
    return style


def _coloured(style: Style, colour: int | None, *, is_back: bool) -> Style:
    return replace(style, back=colour) if is_back else replace(style, front=colour)


def _basic(style: Style, number: int) -> Style:
    for first, base in ((30, 0), (40, 0), (90, 8), (100, 8)):
        if first <= number < first + 8:
            return _coloured(style, base + number - first, is_back=first in {40, 100})
    return style


def _extended(numbers: list[int]) -> int | None:
    """The colour that `5;N` or `2;R;G;B` names, taken from the beginning of `numbers`."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:  # noqa: PLR2004 - ECMA-48's number
        return _of_256(numbers.pop(0))
    if kind == 2 and len(numbers) >= 3:  # noqa: PLR2004 - likewise
        red, green, blue = (numbers.pop(0) for _ in range(3))
        return _nearest(red, green, blue)
    return None


def _of_256(number: int) -> int:
    if number < 16:  # noqa: PLR2004 - the basic colours
        return number
    if number < 232:  # noqa: PLR2004 - a cube of 6 x 6 x 6
        number -= 16
        return _nearest(_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6])
    grey = 8 + 10 * (min(number, 255) - 232)
    return _nearest(grey, grey, grey)


def _nearest(*rgb: int) -> int:
    return min(
        range(16),
        key=lambda index: sum((a - b) ** 2 for a, b in zip(rgb, _BASE[index], strict=True)),
    )
