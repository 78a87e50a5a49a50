"""The log of TeamCity: service messages, `##teamcity[name key='value']`, anywhere in a line.

What a job prints comes in messages of a flow, one for each job. TeamCity reads such messages on
stdout only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pikaci.render.ci.finding import Finding
    from pikaci.render.ci.markup import Group

_SPECIAL = re.compile(r"[|'\[\]\n\r]|[^\x00-\x7f]")
_LONGEST_PROBLEM = 4000
"""Characters of a build problem; TeamCity cuts what is longer."""


class TeamCity:
    """Service messages."""

    def opening(self, group: Group) -> str:
        """Begins a block of a flow."""
        return _message("blockOpened", name=group.title, flowId=group.key)

    def inside(self, group: Group, line: str) -> str:
        """A message of the flow."""
        return _message("message", text=line, flowId=group.key)

    def closing(self, group: Group) -> str:
        """Ends a block."""
        return _message("blockClosed", name=group.title, flowId=group.key)

    def outside(self, line: str) -> str:
        """A line in which `##teamcity[` has a backslash."""
        return line.replace("\r", "").replace("##teamcity[", "##teamcity\\[") + "\n"

    def annotations(self, findings: Iterable[Finding]) -> str:
        """An inspection for each line of a file, a build problem for each other error."""
        texts = []
        for level in dict.fromkeys(found.level for found in findings if found.file):
            values = {"name": level.capitalize(), "description": f"What jobs report as {level}"}
            texts.append(
                _message("inspectionType", id=f"pikaci-{level}", category="pikaci", **values)
            )
        for found in findings:
            if found.file:
                values = {
                    "message": found.message,
                    "file": found.file,
                    "line": str(found.line or 0),
                }
                severity = {"SEVERITY": _SEVERITIES[found.level]}
                texts.append(
                    _message("inspection", typeId=f"pikaci-{found.level}", **values, **severity)
                )
            else:
                text = f"{found.title}: {found.message}" if found.title else found.message
                texts.append(_message("buildProblem", description=text[:_LONGEST_PROBLEM]))
        return "".join(texts)


def _message(kind: str, /, **values: str) -> str:
    fields = "".join(f" {key}='{_escaped(value)}'" for key, value in values.items())
    return f"##teamcity[{kind}{fields}]\n"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char.isascii():
        return "|" + {"\n": "n", "\r": "r"}.get(char, char)
    return "".join(f"|0x{int.from_bytes(pair, 'big'):04x}" for pair in _utf16(char))


def _utf16(char: str) -> Iterable[bytes]:
    data = char.encode("utf-16-be", "surrogatepass")
    return (data[at : at + 2] for at in range(0, len(data), 2))


_SEVERITIES = {"error": "ERROR", "warning": "WARNING", "notice": "INFO"}
