from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from jerichoci.machine.environment import host_environment
from jerichoci.runtime.host_process import job_environment
from jerichoci.world import World
from plans import job

if TYPE_CHECKING:
    from jerichoci.runtime import Attempt

SOURCE = {
    "PATH": "/bin",
    "HOME": "/home/a",
    "LANG": "C",
    "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - a value, not a file
    "NIX_REMOTE": "daemon",
    "NIX_CFLAGS_COMPILE": "-isystem /dev/shell",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PIKACI_STATE_ROOT": "/state",
    "LD_PRELOAD": "evil.so",
    "NIXOS": "1",
    "LCD": "1",
}


def test_only_what_a_process_cannot_do_without_passes() -> None:
    assert set(host_environment(SOURCE)) == {
        *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "NIX_REMOTE")
    }


def test_the_plan_has_the_last_word() -> None:
    execute = job("a", needs=["dep"], env={"HOME": "/elsewhere", "PIKACI_INPUT_DEP": "x"}).execute
    attempt = SimpleNamespace(
        node=SimpleNamespace(execute=execute),
        inputs={"dep": Path("/nix/store/dep")},
        scratch=Path("/scratch"),
        world=World(env={"HOME": "/world", "TOOL": "jq"}, path=("/tools/bin", "/more/bin")),
    )
    found = job_environment(cast("Attempt", attempt), Path("/artifacts"), "/bin")
    assert found["TOOL"] == "jq"
    assert found["PATH"] == "/tools/bin:/more/bin:/bin"
    assert found["HOME"] == "/elsewhere"
    assert found["PIKACI_INPUT_DEP"] == "/nix/store/dep"
    assert found["PIKACI_ARTIFACTS"] == "/artifacts"
