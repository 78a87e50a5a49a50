"""`lib.matrix`: jobs and targets for every combination."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nix.evaluation import eval_catalog, refusal

CELL = '(cell: { command = "${toString cell.python} on ${cell.db}"; })'


def matrix(arguments: str, make: str = CELL) -> dict[str, Any]:
    done = eval_catalog(f"lib.matrix {{ {arguments} }} {make}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_combination_has_an_id_and_a_description_of_its_own() -> None:
    found = matrix('python = [ "3.9" "3.10" ]; db = [ "pg" "sqlite" ];')
    assert {name: (row["command"], row["description"]) for name, row in found.items()} == {
        f"{db}-{python.replace('.', '-')}": (f"{python} on {db}", f"db {db}, python {python}")
        for python in ("3.9", "3.10")
        for db in ("pg", "sqlite")
    }


def test_cells_are_excluded_and_included() -> None:
    found = matrix(
        'python = [ 1 2 ]; db = [ "pg" "Sqlite" ];'
        ' exclude = [ { db = "pg"; python = 2; } { db = "Sqlite"; python = 1; } ];'
        ' include = [ { db = "none"; python = 3; } ]; prefix = "unit";'
    )
    assert sorted(found) == ["unit-none-3", "unit-pg-1", "unit-sqlite-2"]
    assert found["unit-none-3"]["command"] == "3 on none"


def test_values_of_any_kind_have_names() -> None:
    found = matrix(
        'python = { py311 = drv "python"; }; db = [ "pg" ];',
        '(cell: { command = cell.python.name; description = "own"; })',
    )
    assert found == {"pg-py311": {"command": "python", "description": "own"}}


def test_jobs_and_targets_are_planned_in_natural_order() -> None:
    jobs = 'lib.matrix { n = [ 10 9 1 ]; } (cell: { command = "true"; })'
    done = eval_catalog(f"(catalog {{ hello.jobs = {jobs}; }}).plans.hello")
    plan = json.loads(done.stdout)
    assert [node["job_id"] for node in plan["nodes"]] == ["1", "9", "10"]
    targets = 'lib.matrix { prefix = "t"; n = [ 1 2 ]; } (cell: { jobs.a.command = "true"; })'
    listed = json.loads(eval_catalog(f"(catalog ({targets})).catalog.targets").stdout)
    rows = listed.values() if isinstance(listed, dict) else listed
    assert {row["id"]: row["description"] for row in rows} == {"t-1": "n 1", "t-2": "n 2"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "matrix: expected at least one axis, found none"),
        ("a = [ ];", "matrix.a: expected at least one value, found none"),
        (
            "a = 3;",
            (
                "matrix.a: expected a list of strings and numbers, or an attribute set of values by"
                " name, found the integer 3"
            ),
        ),
        ('a = [ "x" "x" ];', 'matrix.a: expected each value once, found "x" more than once'),
        (
            "a = [ { } ];",
            (
                "matrix.a: expected strings and numbers (other values by name, in an attribute"
                " set), found an attribute set"
            ),
        ),
        (
            'a = [ "x" ]; exclude = [ { b = "x"; } ];',
            'matrix.exclude[0]: expected only the axes a, found "b" (did you mean "a"?)',
        ),
        (
            'a = [ "3.9" "3.10" ]; exclude = [ { a = "3.11"; } ];',
            'matrix.exclude[0].a: expected one of 3.10, 3.9, found "3.11" (did you mean "3.10"?)',
        ),
        (
            "a = [ 1 ]; b = [ 2 ]; include = [ { a = 1; } ];",
            "matrix.include[0].b: expected the name of a value, found nothing",
        ),
        (
            "a = [ 1 ]; exclude = [ { a = 1; } ];",
            "matrix: expected at least one cell, found none (exclude leaves no other)",
        ),
        (
            'a = [ "x.y" "x-y" ];',
            "matrix: expected cells with ids of their own, found x-y more than once (a x-y; a x.y)",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments: str, sentence: str) -> None:
    made = f'lib.matrix {{ {arguments} }} (_: {{ command = "true"; }})'
    assert refusal(f"builtins.deepSeq ({made}) null") == f"pikaci: {sentence}"
