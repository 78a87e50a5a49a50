"""Jobs in VMs of a Mac that only ssh reaches."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.project import wait_for
from incus.guest_project import ending, until
from jerichoci.remote.host_notes import host_notes
from jerichoci.state.ledger import GuestNote, tart_guests
from plans import RUN_ID
from remote.leftovers import COMMAND_SECS, pikaci, run_directory
from runner import ORCHESTRATOR, Ended, Runner
from tart_jobs import BASE, vm_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.plan.plan import ExecuteNode, PrepareNode
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from tart.mac import Mac

LINES = 2000
TALKS = f"seq {LINES}; {until('go')}; seq {LINES + 1} {2 * LINES}; exit 3"
"""What a job says that waits for a word in the middle of it."""


@dataclass(frozen=True)
class FarVms:
    """The engine, a Mac with a base, and jobs there."""

    runner: Runner
    mac: Mac
    hosts_config: WriteHosts

    @property
    def host(self) -> FarHost:
        assert self.mac.host is not None
        return self.mac.host

    @property
    def placed(self) -> dict[str, Any]:
        """What places a node there."""
        return {"placement": "remote_ssh", "placement_config": {"host": self.host.name}}

    def config(self, **extra: object) -> FarVms:
        """The same, with more in the host's table."""
        self.hosts_config(self.host, **extra)
        return self

    def job(self, name: str = "a", command: str = "true", **execute: Any) -> ExecuteNode:  # noqa: ANN401 - fields of the model
        """A job in a VM there."""
        return vm_job(name, command, **execute).with_(**self.placed)

    def outbox(self, name: str = "a", run_id: str = RUN_ID) -> Path:
        """The directory that a job's VM has as its /artifacts."""
        run = run_directory(self.runner.state, self.host, run_id)
        return run / "scratch" / f"{name}-1" / "artifacts"

    def wait_until_it_runs(self, name: str = "a") -> None:
        wait_for((self.outbox(name) / "files").is_dir)

    def let_go(self, name: str = "a", word: str = "go") -> None:
        """Tell a job that waits for a word to go on."""
        self.wait_until_it_runs(name)
        (self.outbox(name) / "files" / word).touch()

    @contextmanager
    def running(self, *nodes: PrepareNode | ExecuteNode) -> Iterator[subprocess.Popen[bytes]]:
        """A run in a process of its own, whose job `a` is in its VM."""
        with ending(self.runner.start(*nodes)) as process:
            files = self.outbox() / "files"
            wait_for(lambda: files.is_dir() or process.poll() is not None)
            assert process.poll() is None, self.runner.ended()
            yield process

    def job_vms(self) -> list[str]:
        """The VMs there that aren't the base."""
        return [name for name in self.mac.vms() if name != BASE]

    def notes(self) -> list[GuestNote]:
        return list(tart_guests(self.runner.state).all())

    def pikaci(self, *args: str) -> str:
        """What a command says that succeeds."""
        if args[0] != "shell":
            done = pikaci(self.runner.state, *args)
            return done.out + done.err
        shell = subprocess.run(
            [sys.executable, "-m", "pikaci", *args],
            env={
                **os.environ,
                "PYTHONPATH": str(ORCHESTRATOR),
                "PIKACI_STATE_ROOT": str(self.runner.state.root),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECS,
        )
        assert shell.returncode == 0, shell
        return shell.stdout + shell.stderr

    def has_tart_processes(self) -> bool:
        return any(" run pikaci." in line for line in self.host.processes())

    def assert_nothing_is_left(self) -> None:
        """No VM, process, note or file of a run."""
        assert self.job_vms() == []
        assert self.notes() == []
        assert list(host_notes(self.runner.state).all()) == []
        assert list((self.host.work_dir / "runs").glob("*")) == []
        assert list((self.host.work_dir / "guest-store" / "views").glob(".*")) == []
        wait_for(lambda: self.host.processes() == [])

    def assert_it_ended_as_it_would_have(self, ended: Ended | None = None) -> None:
        """That job `a` said all of `TALKS`, once."""
        ended = ended or self.runner.ended()
        job = ended.job("a")
        assert (job.failure_kind, job.exit_code) == ("test_failure", 3), job
        assert len(job.attempts) == 1
        log = (ended.layout.attempt("a", 1) / "guest.log").read_text()
        assert log == "".join(f"{number}\n" for number in range(1, 2 * LINES + 1))


def phases(ended: Ended, name: str = "a") -> list[str]:
    """The phases of a job, as its record has them."""
    return [phase.phase for phase in ended.job(name).phases]
