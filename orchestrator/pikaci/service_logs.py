"""The logs of the services of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass
from pikaci.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.record.store import RunStore

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ServiceLog:
    """What a service printed beside the last attempt of a job."""

    path: Path

    def rest(self) -> Iterator[bytes]:
        """Its content in chunks."""
        try:
            with self.path.open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    yield data
        except OSError as error:
            raise UsageError(f"{self.path} can't be read: {error.strerror}") from error


def service_log(store: RunStore, run_id: str, job_id: str, service: str) -> ServiceLog | None:
    """The log, if that job had the service."""
    found = _logs(store, run_id, job_id).get(service)
    return ServiceLog(found) if found else None


def no_service(store: RunStore, jobs: Sequence[tuple[str, str]], service: str) -> UsageError:
    """The error that no job of these has the service."""
    known = sorted({name for run, job in jobs for name in _logs(store, run, job)})
    hint = did_you_mean(service, known) or (f"there are {', '.join(known)}" if known else None)
    return UsageError(f"no job has the log of a service {service!r}", hint)


def _logs(store: RunStore, run_id: str, job_id: str) -> dict[str, Path]:
    attempts = store.run(run_id).job(job_id) / "attempts"
    latest = max(attempts.glob("*/services"), key=lambda path: int(path.parent.name), default=None)
    return {path.stem: path for path in latest.glob("*.log")} if latest else {}
