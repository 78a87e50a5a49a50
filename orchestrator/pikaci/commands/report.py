"""`pikaci report`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.state.clock import timestamp
from pikaci import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.record.store import RunStore

PAGE = "index.html"
MARK = b'<meta name="generator" content="pikaci '
"""In the head of each page: what was written by this command is replaced, and nothing else."""
HEAD_BYTES = 4096
MOST_BYTES = 300 * 1024 * 1024
"""A larger page takes a browser gigabytes of memory."""


@click.command("report")
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    help=f"Write DIR/{PAGE}, and copies of artifacts below DIR/artifacts.  [default: a page without"
    " artifacts, in the directory of the run's record]",
)
@options.runs_records
def report_command(store: RunStore, runs: list[str], output: str | None) -> None:
    """Write a page of all that RUN left, and print its path. RUN may be a batch.

    \b
    The page is one HTML file that needs no network: verdicts, causes, the timeline with its
    critical path, logs, tests, artifacts, the plan, how to reproduce it.
    """
    from pikaci.report.artifacts import Copied, copy_artifacts
    from pikaci.report.page import page
    from pikaci.report.run_view import run_view

    views = [run_view(store, run_id) for run_id in runs]
    copied = Copied()
    try:
        if output is None:
            path = store.run(runs[0]).root / "report.html"
        else:
            path = _prepared(Path(output)) / PAGE
            copied = copy_artifacts(store, views, path.parent)
        _write(path, page(views, copied, timestamp()))
    except OSError as error:
        where = error.filename or output
        raise InfrastructureError(
            f"the report can't be written: {where}: {error.strerror}",
            "give another directory with --output",
        ) from error
    size = path.stat().st_size
    if size > MOST_BYTES:
        click.echo(f"pikaci: the page has {size >> 20} MiB: a browser may not open it", err=True)
    click.echo(path)


def _prepared(directory: Path) -> Path:
    """The directory of a report, without the copies of an earlier one."""
    page, copies = directory / PAGE, directory / "artifacts"
    if page.exists():
        with page.open("rb") as file:
            is_own = MARK in file.read(HEAD_BYTES)
        if not is_own:
            raise UsageError(f"{page} is not of this command", "give another directory")
        if copies.is_dir():
            shutil.rmtree(copies)
    elif copies.exists():
        raise UsageError(f"{copies} exists and is not of this command", "give another directory")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Write a file whole or not at all."""
    fd, name = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            for piece in pieces:
                file.write(piece)
            os.fchmod(file.fileno(), 0o644 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
