"""The JSON Schemas of the records, generated from the models."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from jerichoci.plan.plan import Plan
from jerichoci.record.event import ADAPTER
from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def record_adapters() -> dict[str, TypeAdapter[Any]]:
    """The records that have a schema, by name."""
    return {
        "plan": TypeAdapter(Plan),
        "run": TypeAdapter(RunRecord),
        "job": TypeAdapter(JobRecord),
        "prepared-outputs": TypeAdapter(PreparedOutputs),
        "event": ADAPTER,
    }


def schema_text(adapter: TypeAdapter[Any]) -> str:
    """A schema as the file under `schema/` has it."""
    schema = {"$schema": DIALECT, **adapter.json_schema(mode="serialization")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
