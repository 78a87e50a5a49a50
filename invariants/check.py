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
from typing import TYPE_CHECKING

import branches
import credentials
import imports
import names
import texts
from rule import FILE, Rule, read_rules
from tree import Finding, Tree, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

import fields

KINDS: dict[str, Callable[..., Iterator[Finding]]] = {
    "argv-home": names.argv_home,
    "arrows": imports.arrows,
    "file-names": names.file_names,
    "import-direction": imports.import_direction,
    "key-set": fields.key_set,
    "lane-runner": texts.lane_runner,
    "lines": texts.lines,
    "no-branch-on-name": branches.no_branch_on_name,
    "no-choice-from": branches.no_choice_from,
    "no-glob-tables": texts.no_glob_tables,
    "no-second-copy": fields.no_second_copy,
    "no-secrets": credentials.no_secrets,
    "no-target-ids": names.no_target_ids,
    "single-source": texts.single_source,
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
        where = f"{self.file}:{self.line}: {self.id}"
        return f"{where}: {self.what}. {self.statement} Hint: {self.hint}"


@dataclass
class Report:
    """What checking found; `notes` name rules that have nothing to check yet."""

    checked: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, rule: Rule, found: Finding, hint: str = "") -> None:
        """Note a violation."""
        place = (found.file, found.line, rule.id, found.what)
        self.violations.append(Violation(*place, rule.statement, hint or rule.hint))


def check(tree: Tree, rules: list[Rule], ids: set[str]) -> Report:
    """Check the rules with `ids`, or all; the id of an exception selects its rule."""
    report = Report()
    for must in rules:
        exceptions = [rule for rule in rules if rule.of == must.id]
        selected = not ids or ids & {must.id, *(rule.id for rule in exceptions)}
        if must.kind == "must" and selected:
            report.checked.append(must.id)
            _check_scope(tree, must, report)
            _check_must(tree, must, exceptions, report)
    report.violations.sort(key=lambda found: (found.file, found.line, found.id, found.what))
    return report


def _check_scope(tree: Tree, must: Rule, report: Report) -> None:
    for glob in must.scope:
        matches = glob.startswith("!") or bool(tree.matching([glob]))
        if matches and glob in must.absent:
            wrong = Finding(FILE, must.line, f"{glob} is listed as absent, but matches files now")
            report.add(must, wrong, "remove it from `absent`")
        elif not matches and glob in must.absent:
            report.notes.append(f"{must.id}: {glob} matches no file yet")
        elif not matches:
            wrong = Finding(FILE, must.line, f"{glob} of its scope matches no file")
            report.add(must, wrong, "update the scope to where the files are now")


def _check_must(tree: Tree, must: Rule, exceptions: list[Rule], report: Report) -> None:
    used = set()
    for found in _findings(tree, must):
        near = [rule for rule in exceptions if found.file in tree.matching(rule.scope)]
        covering = [rule.id for rule in near if rule.match in found.what]
        used.update(covering)
        if not covering:
            report.add(must, found)
    for rule in exceptions:
        if rule.id not in used:
            wrong = Finding(FILE, rule.line, f"nothing in its scope breaks {must.id} any more")
            report.add(rule, wrong, "remove this exception")


def _findings(tree: Tree, must: Rule) -> list[Finding]:
    keys = dict(must.check)
    run = KINDS[str(keys.pop("kind"))]
    try:
        return list(dict.fromkeys(run(tree, tree.matching(must.scope), **keys)))
    except UnreadableError as error:
        return [error.finding]


def main(arguments: list[str] | None = None) -> int:
    """Check a checkout; the exit code."""
    parser = argparse.ArgumentParser(prog="check.py", description=__doc__.partition("\n")[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, metavar="DIR", help="the checkout")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("ids", nargs="*", metavar="ID", help="check only these rules")
    asked = parser.parse_args(arguments)
    tree, report = Tree(asked.root.resolve()), Report()
    try:
        rules = read_rules(tree, KINDS)
    except UnreadableError as error:
        where = (error.finding.file, error.finding.line, "invariants", error.finding.what)
        hint = "docs/invariants.md explains how to write a rule"
        report.violations.append(Violation(*where, "The rules can be read.", hint))
    else:
        unknown = set(asked.ids) - {rule.id for rule in rules}
        if unknown:
            parser.error(f"there is no invariant {', '.join(sorted(unknown))}")
        report = check(tree, rules, set(asked.ids))
    if asked.json:
        print(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        print("".join(f"{violation}\n" for violation in report.violations), end="")
        print("".join(f"note: {note}\n" for note in report.notes), end="", file=sys.stderr)
        found = len(report.violations)
        print(f"{len(report.checked)} invariants, {found or 'no'} violations", file=sys.stderr)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
