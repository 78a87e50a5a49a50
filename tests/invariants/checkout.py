"""Checkouts to break rules in: small ones made up, and copies of this one."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import check

ROOT = Path(__file__).resolve().parents[2]
RULES = "invariants/invariants.toml"
_IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "result", "result-*", "*.egg-info", ".*_cache", ".hypothesis"
)


def pristine_copy(place: Path) -> Path:
    """A copy of this checkout without what git ignores."""
    shutil.copytree(ROOT, place, ignore=_IGNORED, symlinks=True)
    return place


def linked_copy(pristine: Path, place: Path) -> Checkout:
    """A copy whose files are links to another's: they are replaced, not written."""
    shutil.copytree(pristine, place, copy_function=os.link, symlinks=True)
    return Checkout(place)


@dataclass(frozen=True)
class Checkout:
    """A directory that the checker looks at."""

    root: Path

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)

    def append(self, name: str, text: str) -> None:
        path = self.root / name
        self.write(name, (path.read_text() if path.exists() else "") + text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert text.count(old) >= 1, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1))

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def line_of(self, name: str, text: str) -> int:
        """The last line with `text`."""
        lines = (self.root / name).read_text().splitlines()
        return max(number for number, line in enumerate(lines, 1) if text in line)

    def check(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the checker in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = check.main(["--root", str(self.root), *arguments])
            except SystemExit as ended:
                code = int(str(ended.code))
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def report(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        done = self.check("--json", *arguments)
        assert done.returncode in {0, 1}, done.stderr
        return json.loads(done.stdout)

    def found(self, *arguments: str) -> list[tuple[str, int, str]]:
        """File, line and what was found there."""
        rows = self.report(*arguments)["violations"]
        return [(row["file"], row["line"], row["what"]) for row in rows]

    def rule(self, kind: str, scope: list[str], rule_id: str = "rule", **table: object) -> Checkout:
        """Add a rule to this checkout's own."""
        check = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        self.append(
            RULES,
            f'[[invariant]]\nid = "{rule_id}"\narea = "a"\nkind = "must"\nstatement = "It is so."\n'
            f'hint = "do so"\nscope = {json.dumps(scope)}\n[invariant.check]\nkind = "{kind}"\n'
            + check,
        )
        return self

    def allow(self, of: str, scope: list[str], match: str = "") -> Checkout:
        """Add an exception to a rule."""
        self.append(
            RULES,
            f'[[invariant]]\nid = "but"\narea = "a"\nkind = "allowed"\nof = "{of}"\n'
            f'statement = "Here it is not."\nhint = "a reason"\nscope = {json.dumps(scope)}\n'
            f"match = {json.dumps(match)}\n",
        )
        return self


def lines_found(checkout: Checkout) -> list[int]:
    """The lines of one file that its rule objects to."""
    return [line for _, line, _ in checkout.found()]
