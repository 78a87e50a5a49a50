"""Reading what runs left: the same files for the CLI, the forge and tests.

Nothing here writes. A run whose owner died is shown as it will be closed by
`jerichoci.cleanup.dead_runs`. A record that can't be read degrades that run, never the list.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jerichoci.errors import RecordError, UsageError
from jerichoci.record.batch import batch_ids, runs_of
from jerichoci.record.dead import read_current
from jerichoci.record.order import run_ids
from jerichoci.record.summary import RunSummary, read_summary
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_run_id_prefix, is_id, is_run_id
from jerichoci.state.layout import RunLayout, StateLayout
from jerichoci.state.log_file import LogChunk, LogMetadata, log_metadata, read_log
from jerichoci.state.natural import natural
from jerichoci.state.owner import is_owned
from jerichoci.state.reading import MOST_BYTES, parse, read_object
from jerichoci.status import LogKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jerichoci.plan.model import Model
    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import PreparedOutputs, RunRecord

    ModelT = TypeVar("ModelT", bound=Model)

LATEST = "latest"
FOLLOW_INTERVAL_SECS = 0.1
"""How often a follower looks for more: below what a person notices, above what a machine does."""
CHUNK_BYTES = 32 * 1024 * 1024
"""How much of the events a follower takes at a time."""


@dataclass(frozen=True)
class EventChunk:
    """Events of a run as JSON values; more begin at `next_offset`, none will come if `is_over`."""

    events: tuple[dict[str, Any], ...]
    next_offset: int
    is_over: bool


@dataclass(frozen=True)
class Found:
    """The runs that a name stands for, and the id of the batch if it is a batch's."""

    runs: list[str]
    batch: str | None = None


class RunStore:
    """The runs of one state root.

    Methods raise UsageError for a run that doesn't exist, and RecordError for a record that can't
    be read or is of a later schema.
    """

    def __init__(self, state_root: Path | str) -> None:
        self.layout = StateLayout(Path(state_root))

    def run_ids(self, limit: int | None = None) -> list[str]:
        """Ids of the runs that were made last, the newest first; all, if `limit` is None."""
        return run_ids(self.layout, limit)

    def resolve(self, name: str) -> str:
        """The run id that `name` stands for, as `resolve_many` has it."""
        found = self.resolve_many(name)
        if len(found) > 1:
            targets = (self.summary(run_id).target_id for run_id in found)
            some = ", ".join(f"{each} ({of})" for each, of in zip(found, targets, strict=True))
            raise UsageError(f"{name!r} is a batch of {len(found)} runs", f"give one of {some}")
        return found[0]

    def resolve_many(self, name: str) -> list[str]:
        """The ids of the runs that `name` stands for, as `find` has it."""
        return self.find(name).runs

    def find(self, name: str) -> Found:
        """The run or the batch that `name` is the id of, or the beginning of its id.

        `latest` is what was started last.
        """
        if name == LATEST:
            last = self.run_ids(limit=1)
            if not last:
                raise UsageError("there is no run yet", "start one with `pikaci run TARGET`")
            batch = self.summary(last[0]).batch
            runs = self.runs_of_batch(batch) if batch else []
            return Found(runs, batch) if runs else Found(last)
        check_run_id_prefix(name)
        if is_run_id(name) and self.layout.run(name).root.is_dir():
            return Found([name])
        found = {run_id: Found([run_id]) for run_id in self.run_ids() if run_id.startswith(name)}
        for batch in batch_ids(self.layout):
            if batch.startswith(name) and (runs := self.runs_of_batch(batch)):
                found[batch] = Found(runs, batch)
        if not found:
            raise UsageError(
                f"no run starts with {name!r} in {self.layout.root}", "`pikaci list` shows them"
            )
        if len(found) > 1:
            some = ", ".join(list(found)[:3]) + (", ..." if len(found) > 3 else "")  # noqa: PLR2004 - three examples
            raise UsageError(f"{len(found)} runs start with {name!r}: {some}", "give more of it")
        return next(iter(found.values()))

    def runs_of_batch(self, batch: str) -> list[str]:
        """The ids of a batch's runs that are there, in its order; none of an unknown batch."""
        return runs_of(self.layout, batch) if is_run_id(batch) else []

    def run(self, run_id: str) -> RunLayout:
        """The files of an existing run."""
        layout = self.layout.run(run_id)
        if not layout.root.is_dir():
            raise UsageError(f"there is no run {run_id} in {self.layout.root}", "`pikaci list`")
        return layout

    def list_runs(self, limit: int | None = None) -> list[RunSummary]:
        """The newest runs, each as it stands."""
        return [self.summary(run_id) for run_id in self.run_ids(limit)]

    def summary(self, run_id: str) -> RunSummary:
        """A run as `list` shows it; one whose owner died has failed."""
        return read_summary(self.layout.run(run_id))

    def record_values(self, run_id: str) -> dict[str, Any]:
        """The run's record as it stands, as JSON values."""
        run = self.run(run_id)
        return _read(run.record, lambda: read_current(run, timings=True))

    def is_running(self, run_id: str) -> bool:
        """Whether the process that runs it lives."""
        return is_owned(self.layout.run(run_id).root)

    def load_run_record(self, run_id: str) -> RunRecord:
        """The run's record."""
        from jerichoci.record.record import RunRecord

        return load_model(RunRecord, self.record_values(run_id), self.run(run_id).record)

    def load_plan(self, run_id: str) -> Plan:
        """The plan that the run ran."""
        from jerichoci.plan.plan import parse_plan

        path = self.run(run_id).plan
        return parse_plan(read_json(path), str(path))

    def load_prepared_outputs(self, run_id: str) -> PreparedOutputs:
        """What the run prepared."""
        from jerichoci.record.record import PreparedOutputs

        path = self.run(run_id).prepared_outputs
        if not path.exists():
            return PreparedOutputs(run_id=run_id)
        return load_model(PreparedOutputs, read_json(path), path)

    def load_run_bundle(self, run_id: str) -> dict[str, Any]:
        """Record, plan, prepared outputs and logs' metadata as JSON values.

        A part that can't be read is null, and `problems` says why.
        """
        problems: list[str] = []

        def part(load: Any) -> Any:  # noqa: ANN401 - each part has its own type
            try:
                return load()
            except (RecordError, OSError) as error:
                problems.append(str(error))
                return None

        layout = self.run(run_id)
        return {
            "run": part(lambda: self.record_values(run_id)),
            "plan": part(lambda: read_json(layout.plan)),
            "prepared_outputs": part(lambda: self.load_prepared_outputs(run_id).model_dump()),
            "logs": part(
                lambda: [
                    {**vars(row), "path": layout.relative(row.path)}
                    for row in self.load_logs_metadata(run_id)
                ]
            ),
            "problems": problems,
        }

    def job_ids(self, run_id: str) -> list[str]:
        """The jobs of a run, or those that have a directory where its record can't be read."""
        summary = self.summary(run_id)
        if not summary.unreadable:
            return [job.id for job in summary.jobs if is_id(job.id)]
        found = self.run(run_id).root.glob("jobs/*/attempts")
        names = (path.parent.name for path in found if is_id(path.parent.name))
        return sorted(names, key=natural)

    def log_path(self, run_id: str, job_id: str, kind: LogKind, attempt: int | None = None) -> Path:
        """Where a job's log is, of the last attempt if `attempt` is None; it need not exist."""
        layout = self.run(run_id)
        if attempt is None:
            attempts = layout.job(job_id) / "attempts"
            try:
                names = [entry.name for entry in attempts.iterdir()]
                numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
            except OSError:
                numbers = []
            attempt = max(numbers, default=1)
        return layout.attempt(job_id, attempt) / f"{kind.value}.log"

    def load_logs(
        self, run_id: str, job_id: str, kind: LogKind, offset: int = 0, limit: int | None = None
    ) -> LogChunk:
        """Bytes of a job's log from `offset`; BOTH is the host's log and then the guest's."""
        if kind is not LogKind.BOTH:
            return read_log(self.log_path(run_id, job_id, kind), offset, limit)
        host = self.log_path(run_id, job_id, LogKind.HOST)
        size = host.stat().st_size if host.exists() else 0
        first = read_log(host, offset, limit).data
        left = None if limit is None else limit - len(first)
        second = b""
        if left is None or left > 0:
            guest = self.log_path(run_id, job_id, LogKind.GUEST)
            second = read_log(guest, max(0, offset - size), left).data
        data = first + second
        return LogChunk(data=data, offset=offset, next_offset=offset + len(data))

    def load_logs_metadata(self, run_id: str) -> list[LogMetadata]:
        """Path, existence and size of both logs of every job."""
        return [
            log_metadata(job_id, kind.value, self.log_path(run_id, job_id, kind))
            for job_id in self.job_ids(run_id)
            for kind in (LogKind.HOST, LogKind.GUEST)
        ]

    def read_events(self, run_id: str, offset: int = 0) -> EventChunk:
        """The run's events from a byte offset on, as far as they are written; it never waits."""
        path = self.layout.run(run_id).events
        is_over = self.is_over(run_id)
        try:
            data = read_log(path, offset, CHUNK_BYTES).data
            is_all = len(data) < CHUNK_BYTES
            if not is_all and b"\n" not in data:
                data = read_log(path, offset, MOST_BYTES + 1).data
        except OSError as error:
            raise RecordError(f"could not read {path}: {error.strerror}") from error
        end = data.rfind(b"\n") + 1
        if not end and len(data) > MOST_BYTES:
            raise RecordError(f"{path} has a line of more than {MOST_BYTES} bytes")
        events = []
        for line in data[:end].splitlines():
            try:
                events.append(parse(line))
            except ValueError:
                continue
            if events[-1].get("event") == "run_finished":
                return EventChunk(tuple(events), offset + end, is_over=True)
        return EventChunk(tuple(events), offset + end, is_over=is_over and is_all)

    def follow_events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The run's events from the first, waiting for more until `run_finished`.

        They end, too, when the run's process died or its directory was removed.
        """
        chunk = self.read_events(self.run(run_id).run_id)
        while True:
            yield from chunk.events
            if chunk.is_over:
                return
            if not chunk.events:
                time.sleep(FOLLOW_INTERVAL_SECS)
            chunk = self.read_events(run_id, chunk.next_offset)

    def is_over(self, run_id: str) -> bool:
        """Whether nothing more of a run will be written; costs little while it runs."""
        if self.is_running(run_id):
            return False
        summary = self.summary(run_id)
        return summary.is_terminal or summary.unreadable is not None


def read_json(path: Path) -> dict[str, Any]:
    """Read a record's JSON values."""
    return _read(path, lambda: read_object(path))


def _read(path: Path, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{path} is not JSON: {error}", "the record is damaged") from error


def load_model(model: type[ModelT], values: dict[str, Any], path: Path) -> ModelT:
    """Validate JSON values; a field that may be missing and is wrong counts as missing.

    What was passed over is named in the model's `problems`, if it has that field.
    """
    from jerichoci.plan.rule import REQUIRED, ValidationError

    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = {str(path[0]) for path, _ in error.problems if path}
        fields = model.model_fields
        if any(fields.get(name, REQUIRED) is REQUIRED for name in wrong):
            raise RecordError(f"{path} is not a record: {error}") from error
        rest = {key: value for key, value in values.items() if key not in wrong}
        if "problems" in fields:
            rest["problems"] = [f"{name} is damaged and left out" for name in sorted(wrong)]
        return model.model_validate(rest)
