"""The page: one HTML file that asks for nothing else, written as it comes."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from jerichoci.state.dataclass import dataclass
from pikaci import __version__
from pikaci.render.words import between, duration, elapsed_ms, estimate
from pikaci.report.log_parts import Part, parts
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pikaci.report.artifacts import Copied
    from pikaci.report.run_view import RunView

HERE = Path(__file__).parent
GENERATOR = f"pikaci {__version__}"
SIGNS = {"passed": "✓", "failed": "✗", "skipped": "»", "cancelled": "⊘", "running": "…"}
KIB = 1024


def size(number: int) -> str:
    """Bytes as people say them."""
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if value < KIB:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004 - one digit more says something
        value /= KIB
    return f"{value:.1f} GiB"


def ticks(text: str) -> Markup:
    """A sentence, what is between backticks as code."""
    pieces = one_line(text).split("`")
    if len(pieces) % 2 == 0:
        return escape(one_line(text))
    tags = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup().join(tags[at % 2].format(piece) for at, piece in enumerate(pieces))


@dataclass(frozen=True)
class Own:
    """A file of this package that is put into the page, and its hash as CSP spells it."""

    text: Markup
    source: str


@lru_cache
def own(name: str) -> Own:
    """The style or the script of the page."""
    text = (HERE / "static" / name).read_text()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Own(Markup(text), f"'sha256-{digest}'")  # noqa: S704 - it is our own


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates, each compiled when it is first shown."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "ticks": ticks, "line": one_line, "duration": duration}
    environment.globals |= {
        "own": own,
        "parts": parts,
        "is_part": lambda each: isinstance(each, Part),
        "between": between,
        "elapsed_ms": elapsed_ms,
        "estimate": estimate,
        "SIGNS": SIGNS,
        "GENERATOR": GENERATOR,
    }
    return environment


def page(views: Sequence[RunView], copied: Copied, now: str) -> Iterator[str]:
    """The pieces of the page's text; no piece has more than some parts of a log."""
    return templates().get_template("report.html").generate(views=views, copied=copied, now=now)
