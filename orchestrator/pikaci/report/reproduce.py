"""The commands that do again what a run did, or get its source."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from jerichoci.state.dataclass import dataclass
from jerichoci.status import Status
from pikaci.location import state_option
from pikaci.render.words import is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.record.record import RunRecord
    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True)
class Step:
    """What a command does, and the command."""

    what: str
    command: str


def steps(state: StateLayout, record: RunRecord) -> Iterator[Step]:
    """From the nearest to what was run to what others can do elsewhere."""
    option = state_option(state)
    run = record.run_id
    yield Step("The same plan on the same snapshot, on this machine", f"pikaci rerun {run}{option}")
    if record.status is Status.FAILED:
        if not record.source_rev:
            what = "Its failed jobs, on the tree as it is now"
            yield Step(what, f"pikaci run {record.target_id} --failed{option}")
        what = "Its failed jobs on that snapshot, with workspaces kept for `pikaci shell`"
        yield Step(what, f"pikaci rerun {run} --failed --keep on-failure{option}")
    words = ["pikaci", "run", record.target_id, "--system", record.system]
    jobs = [job.id for job in record.jobs if not is_left_out(job)] if record.partial else []
    words += [word for job in jobs for word in ("--job", job)]
    rev = record.source_rev or record.git_head
    if rev and not record.git_dirty:
        yield from _at_commit(record, rev, words)
    elif record.source_tree:
        git = shlex.quote(str(state.git))
        get = f"mkdir source && git --git-dir={git} archive {record.source_tree} | tar -x -C source"
        flake = f"source/{record.flake_dir}" if record.flake_dir else "source"
        what = "The source as it was, which no commit has, and a run of it"
        yield Step(what, f"{get} && {shlex.join([*words, '--flake', flake])}")


def _at_commit(record: RunRecord, rev: str, words: list[str]) -> Iterator[Step]:
    inside = f"cd {shlex.quote(record.flake_dir)} && " if record.flake_dir else ""
    what = "That commit, in any clone of the repository"
    yield Step(what, f"git checkout {rev} && {inside}{shlex.join(words)}")
    root = record.source_root
    is_here = root and (Path(root, ".git").exists() or Path(root, "HEAD").is_file())
    url = f"file://{quote(root or '')}" if is_here else "URL"
    what = "That commit, without a checkout" + (
        "" if is_here else "; URL is that of the repository"
    )
    yield Step(what, shlex.join([*words, "--source", f"git+{url}?rev={rev}"]))
