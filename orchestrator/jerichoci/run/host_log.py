"""host.log of the jobs of a run: what the host did for each, appended as it happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.state.layout import RunLayout


class HostLogs:
    """The host logs of a run's jobs; none is kept open: jobs may outnumber descriptors."""

    def __init__(self, run: RunLayout) -> None:
        self._run = run
        self._attempts: dict[str, int] = {}

    def begin(self, job_id: str, attempt: int) -> None:
        """Let what is said for a job go to this attempt's log from now on."""
        self._attempts[job_id] = attempt

    def say(self, job_ids: Iterable[str], speaker: str, text: str) -> None:
        """Append `text`, each line after the speaker's name, below a last line without an end."""
        lines = "".join(f"{speaker}> {line}\n" for line in text.removesuffix("\n").split("\n"))
        data = lines.encode("utf-8", "surrogateescape")
        for job_id in job_ids:
            fd = self._open(job_id, self._attempts.get(job_id, 1))
            try:
                end = os.fstat(fd).st_size
                is_cut = end and os.pread(fd, 1, end - 1) != b"\n"
                os.write(fd, b"\n" + data if is_cut else data)
            finally:
                os.close(fd)

    def _open(self, job_id: str, attempt: int) -> int:
        directory = self._run.attempt(job_id, attempt)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(directory / "host.log", flags, 0o600)
        except FileNotFoundError:
            self._run.events.stat()  # else the run's directory was removed, and is not made again
            make_private(directory)
            return os.open(directory / "host.log", flags, 0o600)
