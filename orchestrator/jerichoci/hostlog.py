"""host.log of the jobs of a run: what the host did for each, appended as it happens."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jerichoci.layout import RunLayout

SPEAKER = "pikaci"


class HostLogs:
    """The open host logs, a descriptor for each job's current attempt."""

    def __init__(self, run: RunLayout) -> None:
        self._run = run
        self._open: dict[tuple[str, int], int] = {}
        self._attempts: dict[str, int] = {}

    def begin(self, job_id: str, attempt: int) -> None:
        """Let what is said for a job go to this attempt's log from now on."""
        self._attempts[job_id] = attempt

    def say(self, job_ids: Iterable[str], speaker: str, text: str) -> None:
        """Append `text`, each line after the speaker's name.

        Raises:
            OSError: the disk is full.
        """
        lines = "".join(f"{speaker}> {line}\n" for line in text.splitlines() or [""])
        data = lines.encode("utf-8", "surrogateescape")
        for job_id in job_ids:
            os.write(self._descriptor(job_id, self._attempts.get(job_id, 1)), data)

    def _descriptor(self, job_id: str, attempt: int) -> int:
        key = (job_id, attempt)
        if key not in self._open:
            directory = self._run.attempt(job_id, attempt)
            make_private(directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._open[key] = os.open(directory / "host.log", flags, 0o600)
        return self._open[key]

    def close(self) -> None:
        """Close every log."""
        while self._open:
            os.close(self._open.popitem()[1])


@contextmanager
def host_logs(run: RunLayout) -> Iterator[HostLogs]:
    """The host logs of a run, closed at the end."""
    logs = HostLogs(run)
    try:
        yield logs
    finally:
        logs.close()
