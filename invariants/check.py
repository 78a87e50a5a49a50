#!/usr/bin/env python3
"""Checks that the rules in invariants.toml hold. Needs Python 3.11 and nothing else.

Each violation is one line: where, which rule, what was found, what the rule says, what to do. The
exit code is 1 if there is any, 2 if the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from branches import NoBranchOnName, NoChoiceFrom
from credentials import NoSecrets
from fields import KeySet, NoSecondCopy
from filters import NoGlobTables, SingleSource
from imports import ImportDirection, ImportTime
from lanes import LaneRunner
from lines import Lines
from names import FileNames, ForbiddenNames, NoTargetIds
from programs import ArgvHome
from rule import FILE, Allowed, Must, Rules, read_rules
from tree import Finding, Tree, UnreadableError

KINDS: dict[str, type] = {
    "argv-home": ArgvHome,
    "file-names": FileNames,
    "forbidden-names": ForbiddenNames,
    "import-direction": ImportDirection,
    "import-time": ImportTime,
    "key-set": KeySet,
    "lane-runner": LaneRunner,
    "lines": Lines,
    "no-branch-on-name": NoBranchOnName,
    "no-choice-from": NoChoiceFrom,
    "no-glob-tables": NoGlobTables,
    "no-second-copy": NoSecondCopy,
    "no-secrets": NoSecrets,
    "no-target-ids": NoTargetIds,
    "single-source": SingleSource,
}


@dataclass(frozen=True)
class Violation:
    """A rule that doesn't hold at a place."""

    file: str
    line: int
    id: str
    what: str
    statement: str
    hint: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: {self.id}: {self.what}. {self.statement} Hint: {self.hint}"
        )


@dataclass
class Report:
    """What checking found; `notes` are rules that nothing is there yet to break."""

    checked: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(tree: Tree, rules: Rules, ids: set[str]) -> Report:
    """Check the rules with `ids`, or all; an exception's id stands for its rule's."""
    report = Report()
    for must in rules.musts:
        exceptions = rules.exceptions(must)
        if not ids or ids & {must.id, *(entry.id for entry in exceptions)}:
            report.checked.append(must.id)
            _check_scope(tree, must, report)
            _check_must(tree, must, exceptions, report)
    report.violations.sort(key=lambda found: (found.file, found.line, found.id, found.what))
    return report


def _check_scope(tree: Tree, must: Must, report: Report) -> None:
    for glob in must.scope:
        there = glob.startswith("!") or bool(tree.matching([glob]))
        if there and glob in must.absent:
            what = f"{glob} is in its list of what is absent, and is there now"
            report.violations.append(_misstated(must, what, "take it off that list"))
        elif not there and glob in must.absent:
            report.notes.append(f"{must.id}: nothing is there yet to break it in {glob}")
        elif not there:
            what = f"{glob} of its scope is no file's name"
            report.violations.append(_misstated(must, what, "follow what was moved"))


def _check_must(tree: Tree, must: Must, exceptions: tuple[Allowed, ...], report: Report) -> None:
    used = set()
    for found in _findings(tree, must):
        covering = [entry.id for entry in exceptions if _covers(tree, entry, found)]
        used.update(covering)
        if not covering:
            report.violations.append(
                Violation(found.file, found.line, must.id, found.what, must.statement, must.hint)
            )
    for entry in exceptions:
        if entry.id not in used:
            what = f"nothing in its scope is an exception to {must.id} any more"
            report.violations.append(_misstated(entry, what, "remove this entry"))


def _findings(tree: Tree, must: Must) -> list[Finding]:
    try:
        return list(dict.fromkeys(must.check.find(tree, tree.matching(must.scope))))
    except UnreadableError as error:
        return [error.finding]


def _covers(tree: Tree, entry: Allowed, found: Finding) -> bool:
    return found.file in tree.matching(entry.scope) and entry.match in found.what


def _misstated(entry: Must | Allowed, what: str, hint: str) -> Violation:
    return Violation(FILE, entry.line, entry.id, what, entry.statement, hint)


def main(arguments: list[str] | None = None) -> int:
    """Check a checkout; the exit code."""
    parser = argparse.ArgumentParser(prog="check.py", description=__doc__.partition("\n")[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, metavar="DIR", help="the checkout")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("ids", nargs="*", metavar="ID", help="check these only")
    asked = parser.parse_args(arguments)
    tree = Tree(asked.root.resolve())
    try:
        rules = read_rules(tree, KINDS)
    except UnreadableError as error:
        wrong = error.finding
        statement, hint = "The rules can be read.", "docs/invariants.md tells how to write one"
        report = Report(
            violations=[
                Violation(wrong.file, wrong.line, "invariants", wrong.what, statement, hint)
            ]
        )
    else:
        unknown = set(asked.ids) - rules.ids
        if unknown:
            parser.error(f"there is no invariant {', '.join(sorted(unknown))}")
        report = check(tree, rules, set(asked.ids))
    _print(report, as_json=asked.json)
    return 1 if report.violations else 0


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report), indent=2, ensure_ascii=False))
        return
    for violation in report.violations:
        print(violation)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    found = len(report.violations)
    print(f"{len(report.checked)} invariants, {found or 'no'} violations", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
