"""Where the forge keeps its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PIKA_GIT_DATA"


@dataclass(frozen=True)
class DataDir:
    """The forge's directory: its database, its sockets, and the records of every repository."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "forge.db"

    @property
    def settings(self) -> Path:
        """What the operator sets; it need not exist."""
        return self.root / "settings.toml"

    @property
    def wakes(self) -> Path:
        """The sockets of those that want to be woken."""
        return self.root / "wake"

    @property
    def hook_socket(self) -> Path:
        """Where hooks tell of pushes."""
        return self.root / "hook.sock"

    @property
    def service_lock(self) -> Path:
        """Held by the one service."""
        return self.root / "service.lock"

    def state_root(self, repo_id: int) -> Path:
        """The `PIKACI_STATE_ROOT` of a repository."""
        return self.root / "repos" / str(repo_id) / "state"

    def plans(self, repo_id: int, run_id: int) -> Path:
        """The plan set of a CI run."""
        return self.root / "repos" / str(repo_id) / "plans" / f"{run_id}.json"

    def worker(self, name: str) -> Path:
        """What a worker keeps: its lock, its log, and ends it could not deliver yet."""
        return self.root / "workers" / name

    def make(self) -> DataDir:
        """Make the directories, for their owner alone."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)  # hooks reach the socket in it
        for directory in (self.wakes, self.root / "repos", self.root / "workers"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


def default_data_dir() -> DataDir:
    """`$PIKA_GIT_DATA`, else one below `$XDG_STATE_HOME`."""
    if given := os.environ.get(VARIABLE):
        return DataDir(Path(given).absolute())
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return DataDir(Path(state) / "pika-git")
