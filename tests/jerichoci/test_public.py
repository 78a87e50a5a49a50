from __future__ import annotations

import subprocess
import sys

import jerichoci


def test_every_public_name_is_there() -> None:
    assert all(hasattr(jerichoci, name) for name in jerichoci.__all__)


def test_what_starts_a_run_is_not_public() -> None:
    assert not {"run_plan", "RunRequest", "parse_plan"} & set(jerichoci.__all__)


def test_another_name_is_an_attribute_error() -> None:
    assert not hasattr(jerichoci, "Engine")


def test_reading_the_list_of_runs_does_not_import_the_models() -> None:
    script = (
        "import sys, jerichoci.record.store; assert not {'pydantic', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
