"""Names that may not occur, ids of targets, names of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from invariants.checkout import lines_found

if TYPE_CHECKING:
    from invariants.checkout import Checkout


@pytest.mark.parametrize(
    "source",
    ["pkgs = 1", "f(pkgs=1)", "a.pkgs", "def pkgs(): ...", "class pkgs: ...", "lambda pkgs: 1"],
)
def test_an_identifier_is_seen_in_python(empty: Checkout, source: str) -> None:
    empty.write("a.py", source)
    assert lines_found(empty.rule("forbidden-names", ["*.py"], identifiers=["pkgs"])) == [1]


def test_comments_docstrings_and_parts_of_names_are_not(empty: Checkout) -> None:
    empty.write("a.py", '"""pkgs"""\n# pkgs\nmypkgs = "pkgs"\n')
    empty.write("a.nix", '# pkgs\n/* pkgs\n */ { my-pkgs = "pkgs"; }\n')
    assert lines_found(empty.rule("forbidden-names", ["*"], identifiers=["pkgs"])) == []


@pytest.mark.parametrize(
    "source",
    [
        "{ pkgs }: 1",
        "x: x.pkgs",
        '"${pkgs.hello}"',
        "''\n  ${pkgs}\n''",
        "<pkgs>",
        "'' ''${a} ''' '' + pkgs",
        '"\\${a} $${b}" + pkgs',
    ],
)
def test_an_identifier_is_seen_in_nix(empty: Checkout, source: str) -> None:
    empty.write("a.nix", source)
    rule = empty.rule("forbidden-names", ["*.nix"], identifiers=["pkgs", "<.*>"])
    assert len(lines_found(rule)) == 1


def test_strings_are_searched_for_patterns(empty: Checkout) -> None:
    empty.write("a.py", 'x = "say pikaci now"\ny = f"{x} pikaci"\n')
    assert lines_found(empty.rule("forbidden-names", ["*"], strings=[r"\bpikaci\b"])) == [1, 2]


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
