"""The log of GitHub Actions, and of the runners of Forgejo and Gitea, which read the same.

GitHub's runner takes a line as a command if it begins, after white space, with `::NAME`, or has
`##[NAME` anywhere. The others want both at the line's begin. Forgejo and Gitea have no annotations:
they show such a line as an error in the log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pikaci.render.ci.finding import Finding
    from pikaci.render.ci.markup import Group

_FIRST = re.compile(r"^((?:\x1b\[[0-9;:]*m|[^!-~])*):(?=:)")
"""What may be taken as white space or removed before the first `::` of a line."""


class Actions:
    """The commands of Actions."""

    def opening(self, group: Group) -> str:
        """Begins a group, which is folded."""
        return f"::group::{_data(group.title)}\n"

    def inside(self, group: Group, line: str) -> str:  # noqa: ARG002 - as a group's line
        """A line in which `::` or `##[` has a backslash where it would make a command."""
        return self.outside(line)

    def closing(self, group: Group) -> str:  # noqa: ARG002 - groups have no names
        """Ends a group."""
        return "::endgroup::\n"

    def outside(self, line: str) -> str:
        """A line, likewise. A carriage return would begin another."""
        text = line.replace("\r", "")
        return _FIRST.sub(r"\1\\:", text).replace("##[", r"##\[") + "\n"

    def annotations(self, findings: Iterable[Finding]) -> str:
        """A command for each."""
        return "".join(map(_annotation, findings))


def _annotation(finding: Finding) -> str:
    values = {
        "file": finding.file,
        "line": finding.line,
        "col": finding.column,
        "title": finding.title or None,
    }
    given = ((name, str(value)) for name, value in values.items() if value is not None)
    properties = ",".join(f"{name}={_property(value)}" for name, value in given)
    return f"::{finding.level}{properties and f' {properties}'}::{_data(finding.message)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
