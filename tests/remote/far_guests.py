"""Jobs in guests of a remote host's Incus, which nothing but ssh leads to."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from e2e.project import wait_for
from incus.guest_project import GuestRunner, assert_nothing_is_left, ending, guest_job, until
from jerichoci.remote.host_notes import run_name
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from incus.server import IncusServer
    from jerichoci.plan.plan import ExecuteNode
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

Json = dict[str, Any]
LINES = 2000
TALKS = f"seq {LINES}; {until('go')}; seq {LINES + 1} {2 * LINES}; exit 3"
"""What a job says that waits for a word in the middle of it."""


@dataclass(frozen=True)
class FarGuests:
    """The engine, a host with Incus, and jobs there."""

    guests: GuestRunner
    host: FarHost
    hosts_config: WriteHosts

    def config(self, **extra: object) -> FarGuests:
        """The same, with more in the host's table."""
        incus = {"socket": str(self.guests.server.socket)}
        self.hosts_config(self.host, **{"incus": incus, **extra})
        return self

    def of(self, alias: str) -> FarGuests:
        """The same, with guests of another image."""
        return replace(self, guests=self.guests.of(alias))

    def job(self, name: str = "a", command: str = "true", **execute: Any) -> ExecuteNode:  # noqa: ANN401 - fields of the model
        """A job in a guest on the host."""
        node = guest_job(name, command, **execute)
        where = {"host": self.host.name}
        return node.with_(placement="remote_ssh", placement_config=where)

    @property
    def server(self) -> IncusServer:
        return self.guests.server

    @property
    def run_directory(self) -> Path:
        """Where the run's files are on the host."""
        return self.host.work_dir / "runs" / run_name(self.guests.state, RUN_ID)

    def outbox(self, name: str = "a", attempt: int = 1) -> Path:
        """The directory that a job's guest has as its /artifacts."""
        return self.run_directory / "scratch" / f"{name}-{attempt}" / "artifacts"

    def wait_until_it_runs(self, name: str = "a") -> None:
        wait_for((self.outbox(name) / "files").is_dir)

    def let_go(self, name: str = "a", word: str = "go") -> None:
        """Tell a job that waits for a word to go on."""
        self.wait_until_it_runs(name)
        (self.outbox(name) / "files" / word).touch()

    @contextmanager
    def running(self, *nodes: ExecuteNode) -> Iterator[Any]:
        """A run in a process of its own whose first job is in its guest."""
        with ending(self.guests.start(*nodes)) as process:
            files = self.outbox(nodes[0].job_id) / "files"
            wait_for(lambda: files.is_dir() or process.poll() is not None)
            assert process.poll() is None, self.guests.record()
            yield process

    def record(self) -> Json:
        """The record of the only job."""
        (record,) = self.guests.record()["jobs"]
        return dict(record)

    def notes(self) -> list[Json]:
        """The notes of guests that may be there."""
        directory = self.guests.state.root / "elsewhere" / "incus"
        return [json.loads(path.read_bytes()) for path in sorted(directory.glob("*.json"))]

    def assert_nothing_is_left(self) -> None:
        """No guest or note, and nothing of a run on the host."""
        assert_nothing_is_left(self.server, self.guests.state.root)
        assert list((self.host.work_dir / "runs").glob("*")) == []
        assert list((self.host.work_dir / "guest-store" / "views").glob(".*")) == []

    def assert_it_ended_as_it_would_have(self) -> None:
        record = self.record()
        assert (record["status"], record["failure_kind"]) == ("failed", "test_failure"), record
        assert (record["exit_code"], record["attempt"]) == (3, 1)
        assert self.guests.log() == "".join(f"{number}\n" for number in range(1, 2 * LINES + 1))


def guests_of_nowhere(
    runner: Runner, server: IncusServer, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    """The engine on a snapshot, where there is no Incus; `server` is another machine's."""
    private = {
        "XDG_CONFIG_HOME": str(directory / "config"),
        "HOME": str(directory),
        "INCUS_DIR": str(directory / "no-incus"),
    }
    nowhere = directory / "no-incus" / "socket"
    guests = GuestRunner(runner, server, nowhere, server.image_alias, private)
    for name, value in guests.env.items():
        monkeypatch.setenv(name, value)
    return guests
