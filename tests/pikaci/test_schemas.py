from __future__ import annotations

import json
from pathlib import Path

import pytest

from pikaci.commands.schema import NAMES
from pikaci.schemas import described, schema_text, write_schemas

DIRECTORY = Path(__file__).resolve().parents[2] / "schema"


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_in_the_repository_is_the_models(name: str) -> None:
    kept = (DIRECTORY / f"{name}.schema.json").read_text()
    assert kept == schema_text(described()[name]), "run `python -m pikaci.schemas schema`"


def test_every_schema_is_in_the_repository_and_has_a_name_in_the_command(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    names = {f"{name}.schema.json" for name in NAMES}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.name for path in DIRECTORY.iterdir()} == names


def test_a_run_schema_names_every_status() -> None:
    schema = json.loads((DIRECTORY / "run.schema.json").read_text())
    assert schema["$defs"]["Status"]["enum"] == [
        *("running", "passed", "failed", "skipped", "cancelled")
    ]
