"""The files of a checkout, as the checks read them.

- Files are those that the checkout's own .gitignore doesn't leave out; git itself isn't asked, so
  that an unpacked copy gives the same answer.
- A file is read and parsed once, whatever looks at it.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BINARY_PROBE_BYTES = 8192
"""A NUL in the first of a file's bytes makes it binary, as git has it."""


@dataclass(frozen=True)
class Finding:
    """A place that a check objects to, and what is wrong with it."""

    file: str
    line: int
    what: str


class UnreadableError(Exception):
    """A file that a check has to read and can't."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


class Tree:
    """A checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str | None] = {}
        self._modules: dict[str, ast.Module] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every file's path from the root, sorted."""
        ignored = _ignore_rules(self.root)
        found = []
        for directory, names, files in os.walk(self.root):
            inside = os.path.relpath(directory, self.root).replace(os.sep, "/")
            prefix = "" if inside == "." else f"{inside}/"
            names[:] = [
                name for name in names if name != ".git" and not ignored(f"{prefix}{name}/")
            ]
            found += [prefix + name for name in files if not ignored(prefix + name)]
        return tuple(sorted(name for name in found if name != ".git"))

    def matching(self, globs: Iterable[str]) -> tuple[str, ...]:
        """The files of a scope; a glob that starts with `!` takes files away."""
        globs = tuple(globs)
        wanted = [glob_pattern(glob) for glob in globs if not glob.startswith("!")]
        unwanted = [glob_pattern(glob[1:]) for glob in globs if glob.startswith("!")]
        return tuple(
            name
            for name in self.files
            if any(pattern.fullmatch(name) for pattern in wanted)
            and not any(pattern.fullmatch(name) for pattern in unwanted)
        )

    def text(self, file: str) -> str | None:
        """A file's text; None if it is binary, a link to nowhere or not there."""
        if file not in self._texts:
            try:
                content = (self.root / file).read_bytes()
            except OSError:
                content = b"\0"
            binary = b"\0" in content[:BINARY_PROBE_BYTES]
            self._texts[file] = None if binary else content.decode("utf-8", "replace")
        return self._texts[file]

    def require(self, file: str) -> str:
        """A file's text.

        Raises:
            UnreadableError: there is no such text.
        """
        text = self.text(file)
        if text is None:
            raise UnreadableError(Finding(file, 1, "this file is needed here and can't be read"))
        return text

    def module(self, file: str) -> ast.Module:
        """A Python file, parsed.

        Raises:
            UnreadableError: it isn't Python.
        """
        if file not in self._modules:
            try:
                self._modules[file] = ast.parse(self.require(file), file)
            except SyntaxError as error:
                wrong = Finding(file, error.lineno or 1, f"not Python: {error.msg}")
                raise UnreadableError(wrong) from None
        return self._modules[file]


@cache
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as a pattern: `**/` and `/**` cross directories, `*` and `?` don't, `{a,b}` works."""
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
    parts = re.findall(r"\*\*/|\*\*|[*?{},]|[^*?{},]+", glob)
    depth, out = 0, []
    for part in parts:
        depth += (part == "{") - (part == "}")
        comma = "|" if depth else ","
        out.append(tokens.get(part) or (comma if part == "," else re.escape(part)))
    return re.compile("".join(out))


class _IgnoreRules:
    """The patterns of a .gitignore, in the shapes that need no git: names, wildcards, a root."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.patterns = [line for line in map(str.strip, lines) if line and line[0] != "#"]

    def __call__(self, path: str) -> bool:
        """Whether a path is left out; a directory's ends in `/`."""
        return any(self._matches(pattern, path) for pattern in self.patterns)

    @staticmethod
    def _matches(pattern: str, path: str) -> bool:
        if pattern.endswith("/") and not path.endswith("/"):
            return False
        path, bare = path.rstrip("/"), pattern.rstrip("/")
        if "/" in bare:
            return fnmatchcase(path, bare.lstrip("/"))
        return fnmatchcase(path.rpartition("/")[2], bare)


def _ignore_rules(root: Path) -> _IgnoreRules:
    file = root / ".gitignore"
    return _IgnoreRules(file.read_text().splitlines() if file.is_file() else ())
