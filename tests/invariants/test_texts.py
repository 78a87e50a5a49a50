"""Lines of files, and what belongs in one file only."""

from __future__ import annotations

import pytest

from invariants.checkout import Checkout, lines_found

LANE = '[[branch.lanes]]\nid = "l"\ntarget = "t"\n'


def test_a_pattern_belongs_in_one_file(empty: Checkout) -> None:
    empty.write("home.toml", "paths = []\n")
    empty.write("away.toml", "x = 1\npaths = []\n")
    rule = empty.rule("single-source", ["*.toml"], file="home.toml", pattern=r"^paths\s*=")
    assert rule.found() == [("away.toml", 2, "has what belongs in home.toml")]
    empty.write("home.toml", "x = 1\n")
    assert ("home.toml", 1) in [(file, line) for file, line, _ in rule.found()]


@pytest.mark.parametrize(
    ("name", "source", "lines"),
    [
        ("a.py", 'X = ["rust/**"]', [1]),
        ("a.py", 'X = {\n  "lane": "**/*.rs",\n}', [2]),
        ("a.py", 'X = ("*.md", "docs/*")', [1, 1]),
        ("a.py", 'X = {"src/*"}', [1]),
        ("a.py", 'X = ["+refs/heads/*:refs/heads/*", "*", "a * b"]', []),
        ("a.py", 'X = "rust/**"', []),
        ("a.py", 'X = ["refs/heads/*", "refs/**"]', []),
        ("a.nix", '{ filters = [\n "rust/**" ]; }', [2]),
        ("a.nix", '{ snapshot.exclude = [ "rust/**" ]; }', []),
        ("a.nix", '{ command = "ls **/*.rs"; needs = [ "a" ]; }', []),
    ],
)
def test_tables_of_globs_are_seen(
    empty: Checkout, name: str, source: str, lines: list[int]
) -> None:
    empty.write(name, source)
    rule = empty.rule("no-glob-tables", ["a.*"], except_attributes=["exclude"])
    assert lines_found(rule) == lines


def test_lines_are_required_and_forbidden(empty: Checkout) -> None:
    empty.write("run.sh", "# make test\ntrue # pytest\npytest\n")
    rule = empty.rule("lines", ["run.sh"], require=["make test"], forbid=["pytest"])
    assert rule.found() == [
        ("run.sh", 1, "no line is like 'make test'"),
        ("run.sh", 3, "has 'pytest'"),
    ]


def test_a_script_runs_every_branch_lane(empty: Checkout) -> None:
    empty.write("named.sh", "# all\nlanes=(t)\n")
    empty.rule("lane-runner", ["*.sh"], lanes="lanes.toml")
    empty.write("lanes.toml", LANE + LANE.replace('"t"', '"u"'))
    assert empty.found() == [("named.sh", 2, "does not run u of lane l")]


def test_lanes_that_are_no_toml_are_told_with_their_line(empty: Checkout) -> None:
    empty.write("lanes.toml", 'version = 1\n[[branch.lanes]\nid = "l"\n')
    empty.write("run.sh", "lanes=(t)\n")
    empty.rule("lane-runner", ["run.sh"], lanes="lanes.toml")
    ((file, line, what),) = empty.found()
    assert (file, line) == ("lanes.toml", 2)
    assert what.startswith("not TOML")
