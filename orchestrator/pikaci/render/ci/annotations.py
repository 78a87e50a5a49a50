"""Which findings become annotations: a server shows few of them."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from pikaci.render.ci.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHOWN = 10
"""Of each level: GitHub shows no more for a step."""


class Findings:
    """What one job's output says, no line twice."""

    def __init__(self, *, passed: bool) -> None:
        self._levels = {Level.WARNING, Level.NOTICE} if passed else set(Level)
        """A job that passed has no errors, whatever it printed."""
        self._found: dict[Finding, None] = {}
        self._places: set[tuple[str | None, int | None]] = set()

    def note(self, finding: Finding) -> None:
        """Take note of a finding, unless a test was noted that failed on its line."""
        place = (finding.file, finding.line)
        is_wanted = finding.level in self._levels and place not in self._places
        if finding.message and is_wanted and len(self.of(finding.level)) < SHOWN:
            self._found[finding] = None

    def note_test(self, finding: Finding) -> None:
        """Take note of a test that failed, if it is known where."""
        if finding.file:
            self.note(finding)
            self._places.add((finding.file, finding.line))

    def of(self, level: Level) -> list[Finding]:
        """Those of a level."""
        return [finding for finding in self._found if finding.level is level]


def allot(jobs: Sequence[Findings]) -> list[Finding]:
    """As many as a server shows, from as many jobs as possible."""
    return [
        finding
        for level in Level
        for finding in list(_once(_in_turns([job.of(level) for job in jobs])))[:SHOWN]
    ]


def _once(findings: Iterable[Finding]) -> Iterable[Finding]:
    """The findings without those that another job has, too."""
    return {(f.file, f.line, f.message, f.file or f.title): f for f in findings}.values()


def _in_turns(rows: Iterable[Sequence[Finding]]) -> Iterable[Finding]:
    return (finding for turn in zip_longest(*rows) for finding in turn if finding is not None)
