"""Lines of a log to HTML: colours and weights as spans, all else escaped or left out.

`static/report.js` does the same, for the parts of a log that it shows; a test compares them. The
256 and 16 million colours become the nearest of 16, which have enough contrast in each theme.
"""

from __future__ import annotations

import re
from dataclasses import replace

from markupsafe import Markup, escape

from jerichoci.state.dataclass import dataclass
from pikaci.screen import shown

_SGR = re.compile("\x1b\\[([0-9;:]*)m")
_TURNS = dict.fromkeys(
    [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
)
"""What would change the order in which the rest of a line is shown."""
_BASE = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)
_CUBE = (0, 95, 135, 175, 215, 255)
_ON = {1: "b", 2: "d", 3: "i", 4: "u", 7: "inverse", 9: "s"}
_OFF = {22: {"b", "d"}, 23: {"i"}, 24: {"u"}, 27: {"inverse"}, 29: {"s"}}
MOST_DIGITS = 4
"""Of a number in an escape sequence: no colour has more."""
_GROUNDS = {40, 48, 49, 100}


@dataclass(frozen=True)
class Style:
    """How text is shown; colours are numbers from 0 to 15."""

    front: int | None = None
    back: int | None = None
    flags: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        """The classes of `report.css`; 16 and 17 are the page's ground and its text."""
        front, back = self.front, self.back
        if "inverse" in self.flags:
            front, back = (16 if back is None else back), (17 if front is None else front)
        names = [] if front is None else [f"f{front}"]
        names += [] if back is None else [f"g{back}"]
        return " ".join([*names, *(f"a{flag}" for flag in sorted(self.flags - {"inverse"}))])


def to_html(text: str) -> Markup:
    """The HTML of whole lines."""
    return Markup("\n").join(map(line_html, text.split("\n")))


def line_html(line: str) -> Markup:
    """The HTML of one line as a screen shows it in the end."""
    text = shown(line, colours=True).translate(_TURNS)
    if "\x1b" not in text:
        return escape(text)
    pieces = _SGR.split(text)
    style, said = Style(), [escape(pieces[0])]
    for codes, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        style = _styled(style, codes)
        if piece:
            classes = style.classes
            span = Markup('<span class="{}">{}</span>')
            said.append(span.format(classes, piece) if classes else escape(piece))
    return Markup().join(said)


def _styled(style: Style, codes: str) -> Style:
    numbers = [int(each[:MOST_DIGITS] or 0) for each in re.split("[;:]", codes)]
    while numbers:
        number = numbers.pop(0)
        if number == 0:
            style = Style()
        elif number in _ON:
            style = replace(style, flags=style.flags | {_ON[number]})
        elif number in _OFF:
            style = replace(style, flags=style.flags - _OFF[number])
        elif number in {38, 48}:
            colour = _extended(numbers)
            if colour is not None:
                style = _coloured(style, number, colour)
        elif number in {39, 49}:
            style = _coloured(style, number, None)
        else:
            style = _basic(style, number)
    return style


def _coloured(style: Style, of: int, colour: int | None) -> Style:
    return replace(style, back=colour) if of in _GROUNDS else replace(style, front=colour)


def _basic(style: Style, number: int) -> Style:
    for first, base in ((30, 0), (40, 0), (90, 8), (100, 8)):
        if first <= number < first + 8:
            return _coloured(style, first, base + number - first)
    return style


def _extended(numbers: list[int]) -> int | None:
    """The colour that `5;N` or `2;R;G;B` names, taken from the beginning of `numbers`."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:  # noqa: PLR2004 - ECMA-48's number
        return _of_256(numbers.pop(0))
    if kind == 2 and len(numbers) >= 3:  # noqa: PLR2004 - likewise
        return _nearest(*(numbers.pop(0) for _ in range(3)))
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
