"""What is said in one place only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from invariants.checkout import lines_found

if TYPE_CHECKING:
    from invariants.checkout import Checkout


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
        ("a.py", 'X = ("*.md", "docs/*")', [1]),
        ("a.py", 'X = {"src/*"}', [1]),
        ("a.py", 'X = ["+refs/heads/*:refs/heads/*", "*", "a * b"]', []),
        ("a.py", 'X = "rust/**"', []),
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


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('x = ["nix", "build"]', [1]),
        ('x = ("nix", *flags)', [1]),
        ('x = [*("/usr/bin/nix", "eval")]', [1]),
        ('run(["nix"])', [1]),
        ('create_subprocess_exec("nix", "eval")', [1]),
        ('os.execvp("nix", argv)', [1]),
        ('subprocess.Popen("nix")', [1]),
        ('SCHEMES = ("https", "nix")', []),
        ('Finding("nix", "good")', []),
        ('x = "nix build"', []),
        ('NAMES = ["nix"]', []),
    ],
)
def test_command_lines_of_a_program_have_one_home(
    empty: Checkout, source: str, lines: list[int]
) -> None:
    empty.write("away.py", source)
    empty.write("home.py", source)
    rule = empty.rule("argv-home", ["*.py"], home="home.py", programs=["nix"])
    assert [(file, line) for file, line, _ in rule.found()] == [("away.py", n) for n in lines]
