"""How rules are written, scoped, excepted and reported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from invariants.checkout import ROOT, RULES, Checkout

GOOD = """[[invariant]]
id = "a"
area = "x"
kind = "must"
statement = "It is so."
hint = "do so"
scope = ["*.py"]
check = { kind = "file-names", forbid = ["utils"] }
"""


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('kind = "must"', 'kind = "maybe"', "kind is must or allowed, not 'maybe'"),
        ('id = "a"', 'id = "A b"', "invalid id 'A b'"),
        ('hint = "do so"\n', "", "rule: missing a required argument: 'hint'"),
        ('area = "x"', 'area = "x"\nowner = "me"', "rule: got an unexpected keyword"),
        ('["*.py"]', '"*.py"', "rule: scope is not of the type that is expected: '*.py'"),
        ('"file-names"', '"magic"', "there is no check of kind 'magic'"),
        ("forbid", "forbids", "check of kind file-names: missing a required"),
        ('["utils"]', "[1]", "check of kind file-names: forbid is not of the type"),
        ("check = {", "other = {", "rule: got an unexpected keyword"),
        ('area = "x"', 'area = "x"\nabsent = ["b"]', "absent has 'b', which is not in the scope"),
        ('kind = "must"', 'kind = "must', "not TOML"),
    ],
)
def test_a_mistake_in_a_rule_is_told(empty: Checkout, old: str, new: str, what: str) -> None:
    empty.write("a.py", "")
    assert GOOD.count(old) == 1
    empty.write(RULES, GOOD.replace(old, new))
    ((file, line, said),) = empty.found()
    assert (file, said[: len(what)]) == (RULES, what)
    assert line == (4 if what == "not TOML" else 1)


def test_two_rules_of_one_id_are_told(empty: Checkout) -> None:
    empty.write(RULES, GOOD + "\n" + GOOD)
    assert empty.found() == [(RULES, 10, "another rule has the id 'a'")]


def test_an_exception_to_nothing_is_told(empty: Checkout) -> None:
    empty.write("a.py", "")
    empty.rule("file-names", ["*.py"], forbid=["utils"]).allow("other", ["*.py"])
    ((_, _, what),) = empty.found()
    assert what == "but: there is no must 'other'"


def test_without_rules_there_is_no_answer(empty: Checkout) -> None:
    done = empty.check()
    assert done.returncode == 1
    assert done.stdout.startswith(f"{RULES}:1: invariants: the file is missing")


def test_an_exception_covers_its_scope_and_what_it_says(empty: Checkout) -> None:
    empty.write("a.py", "import rich\nimport click\n")
    empty.write("b.py", "import rich\n")
    rule = empty.rule("import-direction", ["*.py"], forbid=["rich", "click"])
    rule.allow("rule", ["a.py"], match="rich")
    assert rule.found() == [("a.py", 2, "imports click"), ("b.py", 1, "imports rich")]


def test_an_exception_that_nothing_needs_is_an_error(empty: Checkout) -> None:
    empty.write("a.py", "")
    rule = empty.rule("file-names", ["*.py"], forbid=["utils"]).allow("rule", ["a.py"])
    assert [what for _, _, what in rule.found()] == ["nothing in its scope breaks rule any more"]


def test_what_is_no_longer_absent_has_to_be_said(empty: Checkout) -> None:
    empty.rule("file-names", ["a/**"], forbid=["x"])
    empty.replace(RULES, 'area = "a"', 'area = "a"\nabsent = ["a/**"]')
    assert empty.report()["notes"] == ["rule: a/** matches no file yet"]
    empty.write("a/b", "")
    assert empty.found() == [(RULES, 1, "a/** is listed as absent, but matches files now")]


def test_a_scope_that_matches_nothing_is_an_error(empty: Checkout) -> None:
    empty.write("a.py", "")
    rule = empty.rule("file-names", ["*.py", "old/**"], forbid=["utils"])
    assert rule.found() == [(RULES, 1, "old/** of its scope matches no file")]


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.py", {"a.py"}),
        ("**", {"a.py", "b/a.py", "b/c/a.py", "b/c/d.nix", ".x/y"}),
        ("**/*.py", {"a.py", "b/a.py", "b/c/a.py"}),
        ("b/**", {"b/a.py", "b/c/a.py", "b/c/d.nix"}),
        ("b/?.py", {"b/a.py"}),
        ("b/{a.py,c/*.nix}", {"b/a.py", "b/c/d.nix"}),
    ],
)
def test_globs_of_a_scope(empty: Checkout, glob: str, names: set[str]) -> None:
    for name in ("a.py", "b/a.py", "b/c/a.py", "b/c/d.nix", ".x/y"):
        empty.write(name, "")
    empty.rule("file-names", [glob, f"!{RULES}"], forbid=["a", "d", "y"])
    assert {file for file, _, _ in empty.found()} == names


def test_ignored_files_are_not_looked_at(empty: Checkout) -> None:
    empty.write(".gitignore", "/out/\n*.tmp\n# no\n/one\ncache/\n")
    for name in ("out/utils", "b/utils", "b/utils.tmp", "one", "b/cache/utils"):
        empty.write(name, "")
    empty.write(".git/utils", "")
    empty.rule("file-names", ["**"], forbid=["utils"])
    assert [file for file, _, _ in empty.found()] == ["b/utils"]


def test_a_violation_is_one_line(empty: Checkout) -> None:
    empty.write("utils.py", "")
    argv = [sys.executable, str(ROOT / "invariants/check.py"), "--root", str(empty.root)]
    here = empty.rule("file-names", ["*.py"], forbid=["utils"]).check()
    program = subprocess.run(argv, capture_output=True, text=True, check=False)
    for done in (here, program):
        assert done.returncode == 1
        assert done.stdout == "utils.py:1: rule: is called utils.py. It is so. Hint: do so\n"
        assert done.stderr == "1 invariants, 1 violations\n"


def test_a_violation_is_an_object_for_programs(empty: Checkout) -> None:
    empty.write("utils.py", "")
    done = empty.rule("file-names", ["*.py"], forbid=["utils"]).check("--json")
    assert json.loads(done.stdout) == {
        "checked": ["rule"],
        "violations": [
            {
                "file": "utils.py",
                "line": 1,
                "id": "rule",
                "what": "is called utils.py",
                "statement": "It is so.",
                "hint": "do so",
            }
        ],
        "notes": [],
    }


def test_one_rule_can_be_asked_for(empty: Checkout) -> None:
    empty.write("utils.py", "")
    empty.rule("file-names", ["*.py"], rule_id="one", forbid=["utils"])
    empty.rule("file-names", ["*.py"], rule_id="two", forbid=["utils"])
    assert empty.report("two")["checked"] == ["two"]
    assert len(empty.found()) == 2


def test_a_rule_that_is_not_there_is_a_usage_error(empty: Checkout) -> None:
    empty.write("a.py", "")
    done = empty.rule("file-names", ["*.py"], forbid=["utils"]).check("other")
    assert done.returncode == 2
    assert "there is no invariant other" in done.stderr
