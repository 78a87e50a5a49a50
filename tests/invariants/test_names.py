"""Ids of targets, names of files, homes of command lines."""

from __future__ import annotations

import pytest

from invariants.checkout import Checkout, lines_found


def test_ids_of_targets_and_lanes_are_known_in_strings(empty: Checkout) -> None:
    empty.write("lanes.toml", '[[branch.lanes]]\nid = "linux-lane"\ntarget = "hello"\n')
    empty.write("targets.nix", "{\n  hello = import ./hello.nix;\n}\n")
    empty.write(
        "a.py",
        'a = "hello"\nb = "say hello"\nc = "run linux-lane now"\nd = "my-linux-lane"\nhello = 1\n',
    )
    rule = empty.rule("no-target-ids", ["*.py"], lanes="lanes.toml", targets="targets.nix")
    assert lines_found(rule) == [1, 3]


def test_names_of_files_and_directories_are_looked_at(empty: Checkout) -> None:
    for name in ("a/utils.py", "a/utils/b.py", "a/utilities.py", "a/common.nix"):
        empty.write(name, "")
    found = empty.rule("file-names", ["a/**"], forbid=["utils", "common"]).found()
    assert [file for file, _, _ in found] == ["a/common.nix", "a/utils.py", "a/utils/b.py"]


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
