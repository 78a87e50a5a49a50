"""What a user waits for on every call: starting imports click, and hardly anything else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ph.cli import COMMANDS

HEAVY = [
    "asyncio",
    "fastapi",
    "http.client",
    "pydantic",
    "ssl",
    "sqlalchemy",
    "tomllib",
    "urllib.request",
]
RUN = """
import json, sys
from ph.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, *sys.modules]), file=sys.stderr)
"""


def test_help_imports_no_command_and_no_http() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--help"], capture_output=True, text=True, check=True
    )
    code, *modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert [name for name in modules if name in HEAVY or name.startswith("ph.commands")] == []
    assert [name for name in COMMANDS if f"  {name} " not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from ph.cli import run

    assert run([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: ph {command}")


def test_a_wrong_use_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from ph.cli import run

    assert run(["status", "--nope"]) == 2
    assert "hint: `ph status --help`" in capsys.readouterr().err
    assert run(["nope"]) == 2
