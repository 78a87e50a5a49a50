from __future__ import annotations

import subprocess
import sys

import jerichoci

INTENDED = [
    "CancelledRunError",
    "CatalogError",
    "FailureKind",
    "InfrastructureError",
    "JobRecord",
    "KeepPolicy",
    "LogKind",
    "PikaciError",
    "Plan",
    "PreparedOutputs",
    "RecordError",
    "RunRecord",
    "RunRequest",
    "RunStore",
    "Source",
    "Status",
    "UsageError",
    "parse_plan",
    "plan_digest",
    "run_plan",
]


def test_the_public_names_are_the_intended_ones() -> None:
    assert jerichoci.__all__ == INTENDED


def test_every_public_name_is_there() -> None:
    assert all(getattr(jerichoci, name).__name__ == name for name in INTENDED)


def test_another_name_is_an_attribute_error() -> None:
    assert not hasattr(jerichoci, "Engine")


def test_reading_the_list_of_runs_does_not_import_the_models() -> None:
    script = (
        "import sys, jerichoci.record.store; assert not {'pydantic', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
