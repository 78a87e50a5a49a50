"""A directory that the runner takes for a guest, in a mount namespace of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.project import processes, wait_for
from privilege import only_root_can

if TYPE_CHECKING:
    from types import ModuleType

RUNNER = Path(__file__).resolve().parents[2] / "nix" / "incus" / "pikaci-incus-run.py"
USER, GROUP = 1000, 100


def load_runner() -> ModuleType:
    """The runner as a module."""
    spec = importlib.util.spec_from_file_location("pikaci_incus_run", RUNNER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Guest:
    """A guest's paths below a directory. Its numbers are the host's: users are looked at by uid."""

    def __init__(self, root: Path) -> None:
        only_root_can("give a guest's files to its user")
        self.root = root
        self.runner = [str(RUNNER)]
        self.snapshot = root / "workspace" / "snapshot"
        self.artifacts = root / "artifacts"
        for directory in (self.snapshot, self.artifacts):
            directory.mkdir(parents=True)
        (self.snapshot / "README").write_text("hello\n")
        for path in (self.snapshot, self.snapshot / "README"):
            os.chown(path, USER, GROUP)

    def variables(self, command: str, **others: str | None) -> dict[str, str]:
        """The exec's variables; those that are None it lacks."""
        usual = {"CONTRACT": "1", "TIMEOUT_SECS": "60", "RUN_AS_ROOT": "0", "MOUNTS": ""}
        values = {**usual, "GUEST_COMMAND": command, **others}
        ours = {
            f"PIKACI_INCUS_{name}": value for name, value in values.items() if value is not None
        }
        return {"PATH": os.environ["PATH"], **ours}

    def argv(self, *arguments: str, setup: str = ":") -> list[str]:
        """The host's exec, after what a shell sets up in the guest."""
        runner = [*self.runner, "--root", str(self.root), *arguments]
        return ["unshare", "--mount", "sh", "-euc", f'{setup}\nexec "$@"', "-", *runner]

    def execute(
        self, variables: dict[str, str], *arguments: str, setup: str = ":"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments, setup=setup),
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def execute_in_a_user_namespace(
        self, variables: dict[str, str], *arguments: str, setup: str = ":"
    ) -> subprocess.CompletedProcess[str]:
        """The host's exec in a namespace as an unprivileged container has it."""
        wait = 'echo ready && read -r mapped && exec "$@"'
        argv = ["unshare", "--user", "sh", "-c", wait, "-", *self.argv(*arguments, setup=setup)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for table in ("uid_map", "gid_map"):
                Path(f"/proc/{process.pid}/{table}").write_text("0 0 65536\n")
            out, errors = process.communicate("mapped\n", timeout=30)
        return subprocess.CompletedProcess(argv, process.returncode, out, errors)

    def start(self, command: str, setup: str = ":", **others: str) -> None:
        done = self.execute(self.variables(command, **others), setup=setup)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"contract": 1, "state": "started"}

    def environment(self, **variables: str) -> None:
        """Give the guest an environment of its own."""
        file = self.root / "etc" / "pikaci" / "environment.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(variables))

    def run(self, command: str, setup: str = ":", **others: str) -> dict[str, Any]:
        """Start a command and wait for its result."""
        self.start(command, setup, **others)
        return self.result()

    def result(self) -> dict[str, Any]:
        path = self.artifacts / "result.json"
        wait_for(path.exists)
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def log(self) -> str:
        return (self.artifacts / "guest.log").read_text()

    def events(self) -> list[dict[str, Any]]:
        path = self.artifacts / "events.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def event(self, name: str) -> dict[str, Any]:
        """The event of that name, as soon as it is there."""
        wait_for(lambda: any(event["event"] == name for event in self.events()))
        return next(event for event in self.events() if event["event"] == name)

    def pid(self) -> int:
        """The runner's."""
        pid: int = self.event("runner_started")["pid"]
        return pid

    def stop(self) -> None:
        """End a runner that a test has left."""
        if self.events():
            pid = self.pid()
            if is_runner(pid, self.root):
                os.kill(pid, signal.SIGTERM)
                wait_for(lambda: not is_runner(pid, self.root))


def is_runner(pid: int, root: Path) -> bool:
    try:
        return os.fsencode(root) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def processes_of(marker: str) -> list[str]:
    """Those with the marker in their command lines, the runner's own aside."""
    return [line for line in processes(marker) if "pikaci-incus-run" not in line]
