"""Where everything lies under a state root. Every id has been validated before it gets here."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.state import atomic
from jerichoci.state.ids import check_id, check_run_id

if TYPE_CHECKING:
    from pathlib import Path

UNBORN_SUFFIX = ".new"
"""Of a run directory that has not got its name yet."""
REMOVED_SUFFIX = ".gone"
"""Of a run directory that is being removed."""


def make_private(directory: Path) -> None:
    """Create a directory and those above it that are missing, its owner's alone."""
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True)
class RunLayout:
    """The files of one run."""

    root: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is its directory's name."""
        return self.root.name

    @property
    def record(self) -> Path:
        """run.json."""
        return self.root / "run.json"

    @property
    def plan(self) -> Path:
        """plan.json."""
        return self.root / "plan.json"

    @property
    def prepared_outputs(self) -> Path:
        """prepared-outputs.json."""
        return self.root / "prepared-outputs.json"

    @property
    def events(self) -> Path:
        """events.jsonl."""
        return self.root / "events.jsonl"

    @property
    def cancel_request(self) -> Path:
        """The file whose existence asks the run to end."""
        return self.root / "cancel"

    @property
    def reserve(self) -> Path:
        """Room kept for the terminal record; it exists until the run is terminal and cleaned up."""
        return self.root / "reserve"

    @property
    def gcroots(self) -> Path:
        """Links that keep prepared outputs from Nix's collector."""
        return self.root / "gcroots"

    @property
    def prepared(self) -> Path:
        """What host commands made, a directory a node."""
        return self.root / "prepared"

    @property
    def scratch(self) -> Path:
        """Workspaces, and what else is removed when the run is over."""
        return self.root / "scratch"

    def job(self, job_id: str) -> Path:
        """The directory of a job."""
        return self.root / "jobs" / check_id(job_id, "job")

    def status(self, job_id: str) -> Path:
        """status.json of a job."""
        return self.job(job_id) / "status.json"

    def attempt(self, job_id: str, number: int) -> Path:
        """The directory of one attempt at a job, counted from 1."""
        return self.job(job_id) / "attempts" / str(number)

    def free_reserve(self) -> None:
        """Free the reserve for the terminal record; an empty one means that there is none yet."""
        with suppress(FileNotFoundError):
            os.truncate(self.reserve, 0)

    def relative(self, path: Path) -> str:
        """`path` as records spell it."""
        return str(path.relative_to(self.root))


@dataclass(frozen=True)
class StateLayout:
    """The directories of a state root."""

    root: Path

    @property
    def git(self) -> Path:
        """The private bare repository that owns every snapshot's objects."""
        return self.root / "git"

    @property
    def snapshots(self) -> Path:
        """Materialised snapshots by tree id."""
        return self.root / "snapshots"

    @property
    def slots(self) -> Path:
        """Flock'd files."""
        return self.root / "slots"

    @property
    def runs(self) -> Path:
        """Run directories by run id."""
        return self.root / "runs"

    @property
    def order(self) -> Path:
        """The ids of runs in the order in which they were made."""
        return self.root / "order"

    @property
    def nix_cache(self) -> Path:
        """Nix's own caches of what it fetched and evaluated."""
        return self.root / "nix-cache"

    @property
    def nix_cache_lock(self) -> Path:
        """Held shared by evaluations, exclusively to remove the caches."""
        return self.slots / "nix-cache.lock"

    def run(self, run_id: str) -> RunLayout:
        """The layout of a run, which need not exist."""
        return RunLayout(self.runs / check_run_id(run_id))

    def make(self) -> None:
        """Create what is missing."""
        try:
            for directory in (self.root, self.snapshots, self.slots, self.runs):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(self.root))
            if not (self.root / "owner-id").exists():
                import uuid

                atomic.write_bytes(self.root / "owner-id", f"{uuid.uuid4()}\n".encode())
        except OSError as error:
            raise InfrastructureError(
                f"the state root {self.root} can't be written: {error.strerror}",
                "make room or give another one with --state-root or PIKACI_STATE_ROOT",
            ) from error

    def owner_id(self) -> str:
        """The UUID that labels what this state root makes elsewhere."""
        return (self.root / "owner-id").read_text().strip()
