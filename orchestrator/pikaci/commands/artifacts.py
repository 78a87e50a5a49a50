"""`pikaci artifacts`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.machine.artifacts import recorded
from jerichoci.state.ids import check_id
from pikaci import options
from pikaci.completion import complete_job
from pikaci.nearest import no_job
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.record.store import RunStore


@click.command("artifacts")
@options.run_records
@click.argument("job", metavar="[JOB]", required=False, shell_complete=complete_job)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy them into DIR, which is created.",
)
@options.json_output
def artifacts_command(
    store: RunStore, run: str, job: str | None, to: Path | None, *, as_json: bool
) -> None:
    """List the files that the jobs of RUN left, or those of JOB, or copy them.

    A path begins with the id of the job, unless JOB is given. A job's files are those of its last
    attempt.
    """
    record = store.load_run_record(run)
    files = list(_files(store, record, _chosen(record, job), short=job is not None))
    if to is not None:
        _copy(files, to)
    if as_json:
        options.print_json([row | {"source": str(source)} for row, source in files])
        return
    if not files:
        click.echo(f"{'job ' + job if job else 'run ' + run} left no files", err=True)
    width = max((len(str(row["bytes"])) for row, _ in files), default=0)
    for row, _ in files:
        click.echo(f"{row['bytes']:>{width}}  {one_line(str(row['path']))}")


def _chosen(record: RunRecord, job: str | None) -> list[JobRecord]:
    if job is None:
        return record.jobs
    found = [row for row in record.jobs if row.id == check_id(job, "job")]
    if not found:
        raise no_job(f"run {record.run_id}", job, [row.id for row in record.jobs])
    return found


def _files(
    store: RunStore, record: RunRecord, jobs: list[JobRecord], *, short: bool
) -> Iterator[tuple[dict[str, object], Path]]:
    """Each file as a row for people and programs, and where it is."""
    layout = store.run(record.run_id)
    for job in jobs:
        kept = layout.attempt(job.id, job.attempt) / "artifacts/files"
        odd = _odd_names(kept) if any("\ufffd" in row.path for row in job.artifacts) else {}
        for artifact in job.artifacts:
            path = artifact.path if short else f"{job.id}/{artifact.path}"
            row = {"job": job.id, "path": path, "bytes": artifact.bytes, "sha256": artifact.sha256}
            yield row, odd.get(artifact.path, kept / artifact.path)


def _odd_names(directory: Path) -> dict[str, Path]:
    """The files whose paths are not UTF-8, by their paths as records have them."""
    below = ((recorded(str(path.relative_to(directory))), path) for path in directory.rglob("*"))
    return {path: file for path, file in below if "\ufffd" in path and file.is_file()}


def _copy(files: list[tuple[dict[str, object], Path]], to: Path) -> None:
    for row, source in files:
        target = to / str(row["path"])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target, follow_symlinks=False)
            shutil.copymode(source, target)
        except FileNotFoundError as error:
            raise UsageError(
                f"{row['path']} is gone: {error.strerror}",
                "`pikaci gc` removes what is kept no longer; run the target again",
            ) from error
        except OSError as error:
            raise UsageError(
                f"could not copy {row['path']} to {target}: {error.strerror}"
            ) from error
