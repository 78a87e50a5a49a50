"""What a user waits for on every call: starting imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jerichoci.state.layout import StateLayout
from records import finished

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ["asyncio", "asyncssh", "jinja2", "pydantic", "pylxd", "rich"]
RUN = """
import json, sys
from pikaci.__main__ import run
code = run(sys.argv[1:])
print(json.dumps([code, *sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["status", "latest"], ["lanes"]])
def test_starting_is_cheap(tmp_path: Path, arguments: list[str]) -> None:
    if arguments == ["lanes"]:
        (tmp_path / "ci").mkdir()
        (tmp_path / "ci/forge-lanes.toml").write_text("version = 1")
        (tmp_path / "flake.nix").touch()
        arguments = [*arguments, "--flake", str(tmp_path)]
    elif arguments != ["--help"]:
        finished(StateLayout(tmp_path))
        arguments = [*arguments, "--state-root", str(tmp_path)]
    program = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    code, *modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert [name for name in HEAVY if name in modules] == []


def test_a_run_begins_to_plan_before_it_imports_models(tmp_path: Path) -> None:
    """They are imported while Nix evaluates."""
    program = [sys.executable, "-c", RUN, "run", "--flake", str(tmp_path), "hello", "lint"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    code, *modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 2
    assert "pydantic" not in modules
