"""What a server reads in its log. Each text that these methods give ends with a newline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pikaci.render.ci.finding import Finding


@dataclass(frozen=True)
class Group:
    """Lines that a server folds under a title.

    `key` is unique in the log and has only letters, digits, `.`, `_` and `-`. The times are seconds
    since 1970.
    """

    key: str
    title: str
    began: int
    ended: int


class Markup(Protocol):
    """How a server wants its log."""

    def opening(self, group: Group) -> str:
        """Begins a group."""

    def inside(self, group: Group, line: str) -> str:
        """A line of a group, which is no command."""

    def closing(self, group: Group) -> str:
        """Ends a group."""

    def outside(self, line: str) -> str:
        """A line outside of groups, which is no command."""

    def annotations(self, findings: Iterable[Finding]) -> str:
        """The findings as the server shows them beside the code; empty if it can't."""
