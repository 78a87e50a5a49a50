"""The log of GitLab: sections, which begin and end with control sequences.

A job can make no section: control sequences but colours are removed from what it prints. There are
no annotations in a log; GitLab reads a JUnit file for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pikaci.render.ci.finding import Finding
    from pikaci.render.ci.markup import Group

_ERASE = "\x1b[0K"


class GitLab:
    """Sections."""

    def opening(self, group: Group) -> str:
        """Begins a section, which is folded; GitLab shows the time between begin and end."""
        name = f"section_start:{group.began}:{group.key}[collapsed=true]"
        return f"{_ERASE}{name}\r{_ERASE}{group.title}\n"

    def inside(self, group: Group, line: str) -> str:  # noqa: ARG002 - as a group's line
        """A line as it is, without carriage returns, which markers need."""
        return self.outside(line)

    def closing(self, group: Group) -> str:
        """Ends a section."""
        return f"{_ERASE}section_end:{group.ended}:{group.key}\r{_ERASE}\n"

    def outside(self, line: str) -> str:
        """A line, likewise."""
        return line.replace("\r", "") + "\n"

    def annotations(self, findings: Iterable[Finding]) -> str:  # noqa: ARG002 - see above
        """None."""
        return ""
