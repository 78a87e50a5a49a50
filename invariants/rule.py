"""invariants.toml: the rules and their exceptions, read and checked.

A `must` has a check, which runs on the files of its scope. An `allowed` is a deliberate exception
to the `must` that its `of` names.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tree import Finding, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tree import Names, Tree

    Check = Callable[..., Iterator[Finding]]

FILE = "invariants/invariants.toml"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A table of invariants.toml. `absent` has the globs of the scope that match nothing yet."""

    id: str
    area: str
    kind: str
    statement: str
    hint: str
    scope: Names
    line: int
    check: Mapping[str, object] = field(default_factory=dict)
    absent: Names = ()
    of: str = ""
    match: str = ""


def read_rules(tree: Tree, kinds: Mapping[str, Check]) -> list[Rule]:
    """The rules of a tree. Raises UnreadableError if invariants.toml is missing or invalid."""
    entries = tree.toml(FILE).get("invariant", [])
    starts = [line for line, text in tree.lines(FILE) if text.strip() == "[[invariant]]"]
    rules: list[Rule] = []
    for entry, line in zip(entries, starts, strict=False):
        wrong = _wrong_keys("rule", Rule, {**entry, "line": line}) or _wrong_rule(entry, kinds)
        if entry.get("id") in {rule.id for rule in rules}:
            wrong = f"another rule has the id {entry['id']!r}"
        if wrong:
            raise UnreadableError(FILE, line, wrong)
        rules.append(Rule(**entry, line=line))
    musts = {rule.id for rule in rules if rule.kind == "must"}
    for rule in rules:
        if rule.kind == "allowed" and rule.of not in musts:
            raise UnreadableError(FILE, rule.line, f"{rule.id}: there is no must {rule.of!r}")
    return rules


def _wrong_rule(entry: dict[str, Any], kinds: Mapping[str, Check]) -> str:
    table = dict(entry.get("check", {}))
    check = table.pop("kind", None)
    stray = set(entry.get("absent", [])) - set(entry["scope"])
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", entry["id"]):
        return f"invalid id {entry['id']!r}"
    if entry["kind"] not in {"must", "allowed"}:
        return f"kind is must or allowed, not {entry['kind']!r}"
    if stray:
        return f"absent has {min(stray)!r}, which is not in the scope"
    if entry["kind"] == "allowed":
        return ""
    if check not in kinds:
        return f"there is no check of kind {check!r}; there are {', '.join(kinds)}"
    return _wrong_keys(f"check of kind {check}", kinds[check], table, None, None)


def _wrong_keys(
    what: str, made: Callable[..., object], table: dict[str, Any], *given: object
) -> str:
    signature = inspect.signature(made)
    try:
        signature.bind(*given, **table)
    except TypeError as error:
        return f"{what}: {error}"
    for name, value in table.items():
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if is_list != (signature.parameters[name].annotation == "Names"):
            return f"{what}: {name} is not of the type that is expected: {value!r}"
    return ""
