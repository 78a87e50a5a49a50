"""Where everything lies under a state root. Every id has been validated before it gets here."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, is_disk_full
from jerichoci.state import atomic
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_id, check_run_id

if TYPE_CHECKING:
    from pathlib import Path

UNBORN_SUFFIX = ".new"
"""Of a run directory that has not got its name yet."""
REMOVED_SUFFIX = ".gone"
"""Of a run directory that is being removed."""


def unwritable(what: str, error: OSError) -> InfrastructureError:
    """What to raise where a state root can't be written."""
    room = "make room or " if is_disk_full(error) else ""
    hint = f"{room}give another state root with --state-root or PIKACI_STATE_ROOT"
    return InfrastructureError(f"{what}: {error.strerror}", hint)


def make_private(directory: Path) -> None:
    """Create a directory and those above it that are missing, its owner's alone."""
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True)
class Layout:
    """Paths below a root."""

    root: Path


class Named:
    """A path of that name below a layout's root."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, layout: Layout, _owner: type) -> Path:
        return layout.root / self._name


class RunLayout(Layout):
    """The files of one run."""

    @property
    def run_id(self) -> str:
        """The run's id, which is its directory's name."""
        return self.root.name

    record = Named("run.json")
    plan = Named("plan.json")
    prepared_outputs = Named("prepared-outputs.json")
    events = Named("events.jsonl")
    cancel_request = Named("cancel")
    """The file whose existence asks the run to end."""
    reserve = Named("reserve")
    """Room kept for the terminal record; it exists until the run is terminal and cleaned up."""
    gcroots = Named("gcroots")
    """Links that keep prepared outputs from Nix's collector."""
    prepared = Named("prepared")
    """What host commands made, a directory a node."""
    scratch = Named("scratch")
    """Workspaces, and what else is removed when the run is over."""

    def job(self, job_id: str) -> Path:
        return self.root / "jobs" / check_id(job_id, "job")

    def status(self, job_id: str) -> Path:
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


class StateLayout(Layout):
    """The directories of a state root."""

    git = Named("git")
    """The private bare repository that owns every snapshot's objects."""
    snapshots = Named("snapshots")
    """Materialised snapshots by tree id."""
    slots = Named("slots")
    """Flock'd files."""
    runs = Named("runs")
    """Run directories by run id."""
    batches = Named("batches")
    """What runs one command started, a file for each that started several."""
    order = Named("order")
    """The ids of runs in the order in which they were made."""
    nix_cache = Named("nix-cache")
    """Nix's own caches of what it fetched and evaluated."""
    nix_cache_lock = Named("slots/nix-cache.lock")
    """Held shared by evaluations, exclusively to remove the caches."""
    answers = Named("answers")
    """What evaluations answered, by what they depend on."""
    verdicts = Named("verdicts")
    """The verdicts of runs, a file for what they were of."""
    guest_store = Named("guest-store")
    """What Nix takes for the root of a file system with a store, that of guests."""
    guest_paths = Named("guest-store/nix/store")
    """The paths of the guests' store."""
    guest_roots = Named("guest-store/nix/var/nix/gcroots/pikaci")
    """Nix's roots in the guests' store, a directory a view."""
    guest_views = Named("guest-store/views")
    """Views of the guests' store, by key."""

    def run(self, run_id: str) -> RunLayout:
        """The layout of a run, which need not exist."""
        return RunLayout(self.runs / check_run_id(run_id))

    def batch(self, batch_id: str) -> Path:
        return self.batches / f"{check_run_id(batch_id)}.json"

    def lock(self, name: str) -> Path:
        return self.slots / f"{name}.lock"

    def make(self) -> None:
        """Create what is missing."""
        try:
            for directory in (self.root, self.snapshots, self.slots, self.runs):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                import tempfile

                tempfile.TemporaryFile(dir=self.root).close()  # its error says why
            if not (self.root / "owner-id").exists():
                import uuid

                atomic.write_bytes(self.root / "owner-id", f"{uuid.uuid4()}\n".encode())
        except OSError as error:
            raise unwritable(f"the state root {self.root} can't be written", error) from error

    def owner_id(self) -> str:
        """The UUID that labels what this state root makes elsewhere."""
        return (self.root / "owner-id").read_text().strip()
