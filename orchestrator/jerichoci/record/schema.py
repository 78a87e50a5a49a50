"""The JSON Schemas of the records, generated from the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from jerichoci.plan.plan import Plan
from jerichoci.record.event import event_adapter
from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {
        "plan": TypeAdapter(Plan),
        "run": TypeAdapter(RunRecord),
        "job": TypeAdapter(JobRecord),
        "prepared-outputs": TypeAdapter(PreparedOutputs),
        "event": event_adapter(),
    }


def schema_names() -> list[str]:
    """The records that have a schema."""
    return list(_adapters())


def schema_text(name: str) -> str:
    """The schema of a record as the file under `schema/` has it."""
    schema = {"$schema": DIALECT, **_adapters()[name].json_schema(mode="serialization")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(directory: Path) -> None:
    """Write every schema into `directory`."""
    for name in schema_names():
        (directory / f"{name}.schema.json").write_text(schema_text(name))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
