"""The files of a checkout, as the checks read them.

- Files and directories with a name in .gitignore are not read, wherever they are. git itself is not
  asked, so an unpacked copy gives the same answer.
- A file is read and parsed once, no matter how many checks need it.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    Names = Sequence[str]
    Findings = Iterator["Finding"]

BINARY_PROBE_BYTES = 8192
"""A file with a NUL in its first bytes is binary, as for git."""


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule, and how."""

    file: str
    line: int
    what: str


class UnreadableError(Exception):
    """A file that a check needs is missing or invalid."""

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(what)
        self.finding = Finding(file, line, what)


class Tree:
    """A checkout. The methods raise UnreadableError for a file that can't be read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str | None] = {}
        self._nodes: dict[str, list[ast.AST]] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every file's path from the root, sorted."""
        rules = self.root / ".gitignore"
        lines = rules.read_text().splitlines() if rules.is_file() else []
        ignored = [".git", *(line.strip("/ ") for line in lines if not line.startswith("#"))]
        found = []
        for directory, names, files in os.walk(self.root):
            prefix = os.path.relpath(directory, self.root)
            kept = [n for n in (*names, *files) if not any(fnmatchcase(n, i) for i in ignored)]
            names[:] = [name for name in names if name in kept]
            found += [os.path.normpath(f"{prefix}/{name}") for name in files if name in kept]
        return tuple(sorted(found))

    def matching(self, globs: Names) -> tuple[str, ...]:
        """The files of a scope; a glob that starts with `!` takes files away."""
        wanted = [glob_pattern(glob) for glob in globs if not glob.startswith("!")]
        unwanted = [glob_pattern(glob[1:]) for glob in globs if glob.startswith("!")]
        return tuple(
            name
            for name in self.files
            if any(pattern.fullmatch(name) for pattern in wanted)
            and not any(pattern.fullmatch(name) for pattern in unwanted)
        )

    def text(self, file: str) -> str | None:
        """A file's text; None if it is missing or binary."""
        if file not in self._texts:
            try:
                content = (self.root / file).read_bytes()
            except OSError:
                content = b"\0"
            binary = b"\0" in content[:BINARY_PROBE_BYTES]
            self._texts[file] = None if binary else content.decode("utf-8", "replace")
        return self._texts[file]

    def require(self, file: str) -> str:
        """The text of a file that must be there."""
        text = self.text(file)
        if text is None:
            raise UnreadableError(file, 1, "the file is missing or not text")
        return text

    def lines(self, file: str, *, comments: bool = True) -> Iterator[tuple[int, str]]:
        """The numbered lines of a file, without `#` comments if asked."""
        for number, line in enumerate((self.text(file) or "").splitlines(), 1):
            yield number, line if comments else re.sub(r"(^|\s)#.*", "", line)

    def toml(self, file: str) -> dict[str, Any]:
        """The values of a TOML file."""
        try:
            return tomllib.loads(self.require(file))
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise UnreadableError(file, int(line[1]) if line else 1, f"not TOML: {error}") from None

    def nodes(self, file: str) -> list[ast.AST]:
        """The syntax nodes of a Python file, its module first; of another file none."""
        if not file.endswith(".py"):
            return []
        if file not in self._nodes:
            try:
                self._nodes[file] = list(ast.walk(ast.parse(self.require(file), file)))
            except SyntaxError as error:
                raise UnreadableError(file, error.lineno or 1, f"not Python: {error.msg}") from None
        return self._nodes[file]


@cache
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as a pattern: `**/` and `/**` cross directories, `*` and `?` don't, `{a,b}` works."""
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens |= {"{": "(?:", "}": ")", ",": "|"}
    parts = re.findall(r"\*\*/|\*\*|[*?{},]|[^*?{},]+", glob)
    return re.compile("".join(tokens.get(part) or re.escape(part) for part in parts))
