from __future__ import annotations

import json
from pathlib import Path

import pytest

from jerichoci.record.schema import schema_names, schema_text, write_schemas

DIRECTORY = Path(__file__).resolve().parents[2] / "schema"


@pytest.mark.parametrize("name", schema_names())
def test_the_schema_in_the_repository_is_the_models(name: str) -> None:
    kept = (DIRECTORY / f"{name}.schema.json").read_text()
    assert kept == schema_text(name), "run `python -m jerichoci.record.schema schema`"


def test_the_repository_has_no_other_schema() -> None:
    kept = {path.name for path in DIRECTORY.iterdir()}
    assert kept == {f"{name}.schema.json" for name in schema_names()}


def test_a_run_schema_names_every_status() -> None:
    schema = json.loads(schema_text("run"))
    assert schema["$defs"]["Status"]["enum"] == [
        *("running", "passed", "failed", "skipped", "cancelled")
    ]


def test_all_schemas_can_be_written(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(schema_names())
