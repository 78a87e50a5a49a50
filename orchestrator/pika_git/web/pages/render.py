"""Templates, and how values are written in them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Path as InPath
from fastapi import Query
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from pika_git.forge_service.log_view import Part
from pika_git.forge_service.sentences import count, duration, short_ref
from pika_git.forge_service.timeline import PHASES
from pika_git.web import log_html

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Request

    from pika_git.forge_service.model import TimelineRow

Cursor = Annotated[str | None, Query(max_length=400)]
Id = Annotated[int, InPath(ge=0, le=2**63 - 1)]
WEB = Path(__file__).parent.parent
STATIC = WEB / "static"
SHORT_ID = 10
BAR = 1000.0
"""The width of a timeline in its own units."""
SHORT_CHARACTERS, WHOLE_CHARACTERS = 30_000, 120_000
HEAD_CHARACTERS, TAIL_CHARACTERS = 55_000, 100_000
"""The HTML of a log on a page: of its end alone, of all of it, else of its beginning and end."""
LEAST_BAR = 3.0
"""What is too short to be seen is this wide."""
DID = {
    "cancel": "Cancelled, or will be when the run is gone.",
    "requeue": "Queued again.",
    "rerun": "Started again, as this run.",
    "wake": "The queue was looked at again.",
    "fail": "Failed by hand.",
    "recover": "Recovered.",
    "merge": "Merged.",
    "waiting": "The merge waits for the lanes of this run.",
    "close": "Closed.",
    "pause": "Paused: no lane begins.",
    "resume": "Resumed.",
    "drain": "Drained: it takes no more lanes.",
    "clear": "Cleared.",
    "revoke": "Revoked.",
    "nightly": "The nightly lanes are started.",
    "repo": "Registered.",
}
"""What is said after an act, by the word in the address."""


def when(at: float | None, now: float) -> Markup:
    """A time, relative to now, with the exact one beside it."""
    if at is None:
        return Markup('<span class="dim">unknown</span>')
    gmtime = time.gmtime(at)
    exact = time.strftime("%Y-%m-%d %H:%M:%S UTC", gmtime)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", gmtime)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, exact, ago(now - at))


def ago(secs: float) -> str:
    """`just now`, `3 min ago`, `in 5 min`."""
    size = abs(secs)
    if size < 5:  # noqa: PLR2004 - nothing to count
        return "just now"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if size < limit:
            said = f"{int(size // unit)} {name}"
            break
    else:
        said = count(int(size // 86400), "day")
    return f"{said} ago" if secs > 0 else f"in {said}"


def size(number: int) -> str:
    """Bytes as people say them."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - the next unit begins
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004 - one digit more says something
        value /= 1000
    return f"{value:.1f} GB"


def bars(row: TimelineRow, begin: float, end: float, now: float) -> list[dict[str, Any]]:
    """The segments of a timeline's row as rectangles."""
    whole = max(end - begin, 0.001)
    found = []
    for each in row.segments:
        last = now if each.end is None else each.end
        left = min(max(0.0, (each.start - begin) / whole), 1.0) * BAR
        width = max(LEAST_BAR, (min(last, end) - each.start) / whole * BAR)
        found.append(
            {
                "x": round(min(left, BAR - LEAST_BAR), 1),
                "width": round(min(width, BAR - min(left, BAR - LEAST_BAR)), 1),
                "kind": each.kind,
                "outcome": each.outcome or "",
                "title": f"{each.label} {duration(last - each.start)}",
                "is_open": each.end is None,
            }
        )
    return found


@dataclass(frozen=True)
class Piece:
    """HTML of a log's bytes from `begin` to `end`."""

    html: Markup
    begin: int
    end: int


def log_pieces(parts: Sequence[Part], *, is_short: bool) -> list[Piece]:
    """What is shown of a log's parts; what is left out of them for its size is between pieces."""
    if is_short:
        return [_last(parts[-1], SHORT_CHARACTERS)]
    if len(parts) == 1:
        whole = _first(parts[0], WHOLE_CHARACTERS)
        if whole.end == parts[0].end:
            return [whole]
    first, last = _first(parts[0], HEAD_CHARACTERS), parts[-1]
    if len(parts) == 1:
        last = Part(first.end, last.data[first.end - last.offset :])
    return [first, _last(last, TAIL_CHARACTERS)]


def _first(part: Part, budget: int) -> Piece:
    html, taken = log_html.within(part.data, budget)
    return Piece(Markup(html), part.offset, part.offset + taken)  # noqa: S704 - the converter escapes


def _last(part: Part, budget: int) -> Piece:
    html, left_out = log_html.last_within(part.data, budget)
    return Piece(Markup(html), part.offset + left_out, part.end)  # noqa: S704 - likewise


def ticks(text: str) -> Markup:
    """A sentence, what is between backticks as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    tags = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup().join(tags[at % 2].format(piece) for at, piece in enumerate(pieces))


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates, each compiled when it is first shown."""
    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": when,
        "duration": duration,
        "size": size,
        "short_ref": short_ref,
        "short": lambda text: (text or "")[:SHORT_ID],
        "ticks": ticks,
        "plain": lambda text: (text or "").replace("_", " "),
        "count": count,
        "phase": lambda name: PHASES.get(name, name.replace("_", " ")),
    }
    environment.globals |= {
        "static": static,
        "bars": bars,
        "log_pieces": log_pieces,
        "DID": DID,
    }
    return environment


@lru_cache
def static(name: str) -> str:
    """The address of a file of the pages; another one when its content is another."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:SHORT_ID]
    return f"/static/{name}?v={digest}"


def page(
    request: Request,
    name: str,
    status: int = 200,
    **values: Any,  # noqa: ANN401 - what the template wants
) -> HTMLResponse:
    """A page, as the caller may see it."""
    who = request.state.principal
    given = {
        "path": request.url.path,
        "who": who,
        "may_write": who.role_name in {"write", "admin"},
        "is_admin": who.role_name == "admin",
        "status": status,
        "stamp": int(time.time()),
        "did": DID.get(request.query_params.get("did", "")),
        **values,
    }
    return HTMLResponse(templates().get_template(f"{name}.html").render(given), status)
