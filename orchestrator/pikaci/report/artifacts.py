"""Artifacts beside a page: copies, as far as they are not too many, which the page links to.

An artifact may be anything that a job made: what a browser would show, too. So a link saves it and
doesn't open it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from jerichoci.state.dataclass import dataclass
from jerichoci.state.reading import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.record.record import ArtifactRecord, JobRecord
    from jerichoci.record.store import RunStore
    from pikaci.report.run_view import RunView

MOST_BYTES = 100 * 1024 * 1024
"""Of all copies: what a CI server keeps without being asked twice."""
CHUNK_BYTES = 1024 * 1024


@dataclass
class Copied:
    """Which artifacts are beside the page: links, by run, job and path; and why others are not."""

    links: dict[tuple[str, str, str], str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def link(self, run_id: str, job_id: str, path: str) -> str | None:
        """Where an artifact is, relative to the page."""
        return self.links.get((run_id, job_id, path))


def copy_artifacts(store: RunStore, views: Sequence[RunView], directory: Path) -> Copied:
    """Copy the artifacts of runs to `directory/artifacts`."""
    copied = Copied()
    room = MOST_BYTES
    for run_id, job, artifact in _artifacts(views):
        source = store.run(run_id).attempt(job.id, job.attempt) / "artifacts" / "files"
        relative = PurePosixPath("artifacts", *([run_id] if len(views) > 1 else []), job.id)
        name = f"{job.id}: {artifact.path}"
        if artifact.bytes > room:
            copied.left_out.append(
                f"{name} was not copied: copies have {MOST_BYTES >> 20} MiB at most"
            )
            continue
        path = PurePosixPath(artifact.path)
        if path.is_absolute() or ".." in path.parts:
            copied.left_out.append(f"{name} was not copied: its path leaves the directory")
            continue
        try:
            digest = _copy(source / path, directory / relative / path)
        except OSError as error:
            copied.left_out.append(f"{name} was not copied: {error.strerror}")
            continue
        if digest != artifact.sha256:
            copied.left_out.append(f"{name} is not what the job left: its SHA-256 is {digest}")
        room -= artifact.bytes
        copied.links[run_id, job.id, artifact.path] = quote(str(relative / path))
    return copied


def _artifacts(views: Sequence[RunView]) -> Iterator[tuple[str, JobRecord, ArtifactRecord]]:
    for view in views:
        for job in view.record.jobs if view.record else ():
            for artifact in job.artifacts:
                yield view.run_id, job, artifact


def _copy(source: Path, target: Path) -> str:
    """Copy a regular file, no link; its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with os.fdopen(open_file(source, os.O_NOFOLLOW), "rb") as file, target.open("wb") as copy:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            copy.write(data)
    return digest.hexdigest()
