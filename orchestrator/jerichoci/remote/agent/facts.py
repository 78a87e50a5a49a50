"""What an agent says of its host when it is greeted."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Programs:
    """What no job can do without: where bash is, git's version; None for what isn't there."""

    bash: str | None
    git: str | None


@dataclass(frozen=True)
class HostFacts:
    """A host, and the user that the agent runs as."""

    boot_id: str | None
    """Another one after each boot."""
    work_dir: Path
    system: str
    uid: int
    gid: int
    python: str
    environment: dict[str, str]
    """What passes from the agent's environment to jobs."""
    job_path: str
    programs: Programs
