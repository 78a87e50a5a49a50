"""What must be, and what may not be, on the lines of a script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree import Tree


@dataclass(frozen=True)
class Lines:
    """Each file has a line like each of `require`, and none like one of `forbid`.

    Comments (`#` to the end of the line, after a space or at its start) are not looked at.
    """

    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()

    def find(self, tree: Tree, files: tuple[str, ...]) -> Iterator[Finding]:
        """Lines that are missing or too many."""
        for file in files:
            lines = [re.sub(r"(^|\s)#.*", "", line) for line in tree.require(file).splitlines()]
            for pattern in self.require:
                if not any(re.search(pattern, line) for line in lines):
                    yield Finding(file, 1, f"no line is like {pattern!r}")
            for number, line in enumerate(lines, 1):
                for pattern in self.forbid:
                    if re.search(pattern, line):
                        yield Finding(file, number, f"has {line.strip()!r}")
