"""The names that may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SUGGESTIONS = 3
_ALIKE = 0.6
# A shorter piece is part of too many names to help.
_SHORTEST_PIECE = 3


def nearest(name: str, candidates: Iterable[str], limit: int = MAX_SUGGESTIONS) -> list[str]:
    """The candidates most like `name`, best first: similar ones and those it is a piece of."""
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(b=name.casefold(), autojunk=False)

    def likeness(candidate: str) -> float:
        matcher.set_seq1(candidate.casefold())
        is_piece = len(name) >= _SHORTEST_PIECE and name.casefold() in candidate.casefold()
        return max(matcher.ratio(), _ALIKE if is_piece else 0.0)

    scored = [(-likeness(candidate), candidate) for candidate in sorted(set(candidates))]
    return [candidate for score, candidate in sorted(scored) if -score >= _ALIKE][:limit]


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """A question to put into a hint, "did you mean `x` or `y`?"; None if nothing is near."""
    names = [f"`{found}`" for found in nearest(name, candidates)]
    if not names:
        return None
    *others, last = names
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def no_job(whose: str, name: str, known: Sequence[str]) -> UsageError:
    """The error that a run or a target has no job of that name."""
    hint = did_you_mean(name, known) or f"it has {', '.join(known)}"
    return UsageError(f"{whose} has no job {name!r}", hint)
