from __future__ import annotations

import subprocess
import sys

import pytest

import jerichoci


def test_every_public_name_is_there() -> None:
    assert all(hasattr(jerichoci, name) for name in jerichoci.__all__)


def test_what_starts_a_run_is_not_public() -> None:
    assert not {"run_plan", "RunRequest", "parse_plan"} & set(jerichoci.__all__)


def test_another_name_is_an_attribute_error() -> None:
    assert not hasattr(jerichoci, "Engine")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("record.store", {"pydantic", "asyncio"}), ("plan.hosts", {"asyncssh", "pylxd"})],
)
def test_a_module_that_every_start_imports_imports_nothing_heavy(
    module: str, heavy: set[str]
) -> None:
    script = f"import sys, jerichoci.{module}; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
