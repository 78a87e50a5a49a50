"""What a page shows of a run: its records, as far as they can be read, and where its logs are."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeVar

from jerichoci.errors import PikaciError, RecordError
from jerichoci.plan.plan import PrepareNode
from jerichoci.state.dataclass import dataclass
from jerichoci.status import LogKind
from pikaci.printed import names_of
from pikaci.report.failures import RunFailures, failures_of
from pikaci.report.graph import MOST_NODES, Graph, draw
from pikaci.report.job_logs import JobLogs
from pikaci.report.reproduce import Step, steps
from pikaci.report.timeline import Timeline, timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import JobRecord, PreparedOutput, RunRecord
    from jerichoci.record.store import RunStore

T = TypeVar("T")
LONGEST_COMMAND = 4000
"""Characters of a job's command that a page shows."""


@dataclass(frozen=True)
class RunView:
    """A run on a page. Without a record there are its logs, and why there is no more."""

    run_id: str
    root: str
    record: RunRecord | None
    failures: RunFailures
    problems: tuple[str, ...]
    names: Mapping[str, str]
    logs: Sequence[JobLogs]
    commands: Mapping[str, str] = field(default_factory=dict)
    """What each job runs."""
    time: Timeline | None = None
    graph: Graph | None = None
    too_many: int = 0
    """How many nodes the plan has, if they are too many to draw."""
    outputs: Sequence[PreparedOutput] = ()
    steps: Sequence[Step] = ()

    @property
    def status(self) -> str:
        """How the run stands, in a word."""
        return str(self.record.status) if self.record else "unreadable"

    @property
    def title(self) -> str:
        """What it ran."""
        return self.record.target_id if self.record else f"run {self.run_id}"

    @property
    def states(self) -> dict[str, str]:
        """How each node of the plan ended, by id."""
        return {row.node_id: row.status for row in self.time.rows} if self.time else {}

    @property
    def own_message(self) -> str | None:
        """Why the run stands so, unless a failure of it says the same."""
        return self.failures.own_message

    def job(self, job_id: str) -> JobRecord | None:
        """A job's record."""
        jobs = self.record.jobs if self.record else []
        return next((job for job in jobs if job.id == job_id), None)

    def called(self, node_id: str) -> str:
        """A node as people call it."""
        return self.names.get(node_id, node_id.removeprefix("execute-"))


def run_view(store: RunStore, run_id: str) -> RunView:
    """A run as it stands.

    Raises:
        RecordError: there is neither a record nor a plan nor a log that can be read.
    """
    problems: list[str] = []

    def read(load: Callable[[str], T]) -> T | None:
        try:
            return load(run_id)
        except (PikaciError, OSError) as error:
            problems.append(error.message if isinstance(error, PikaciError) else str(error))
            return None

    record, plan = read(store.load_run_record), read(store.load_plan)
    outputs = read(store.load_prepared_outputs)
    names = names_of(store, run_id)
    logs = list(_logs(store, run_id, plan, names))
    root = str(store.run(run_id).root)
    if record is None and plan is None and not any(map(_exists, logs)):
        raise RecordError(f"nothing of run {run_id} can be read: {problems[0]}", f"see {root}")
    nodes = plan.nodes if plan else []
    needs = {node.id: node.depends_on for node in nodes}
    is_small = len(needs) <= MOST_NODES
    shown = {
        node.id: names.get(node.id, node.id) if isinstance(node, PrepareNode) else node.job_id
        for node in nodes
    }
    found = [
        *problems,
        *(record.problems if record else ()),
        *(outputs.problems if outputs else ()),
    ]
    return RunView(
        run_id=run_id,
        root=root,
        record=record,
        failures=failures_of(store, run_id),
        problems=tuple(dict.fromkeys(found)),
        names=names,
        logs=logs,
        commands={node.job_id: _short(node.execute.command) for node in plan.jobs} if plan else {},
        time=timeline(record, needs, names) if record else None,
        graph=draw(shown, needs) if needs and is_small else None,
        too_many=0 if is_small else len(needs),
        outputs=outputs.outputs if outputs else (),
        steps=list(steps(store.layout, record)) if record else (),
    )


def _logs(
    store: RunStore, run_id: str, plan: Plan | None, names: Mapping[str, str]
) -> Iterator[JobLogs]:
    told: set[str] = set()
    needs = {node.job_id: plan.closure({node.id}) for node in plan.jobs} if plan else {}
    prepares = {node.id for node in plan.prepares} if plan else set()
    for job_id in store.job_ids(run_id):
        yield JobLogs(store, run_id, job_id, frozenset(told))
        told |= {names.get(node, node) for node in needs.get(job_id, set()) & prepares}


def _short(command: str) -> str:
    if len(command) <= LONGEST_COMMAND:
        return command
    return f"{command[:LONGEST_COMMAND]}\n... {len(command)} characters in all; plan.json has them"


def _exists(logs: JobLogs) -> bool:
    return any(
        logs.store.log_path(logs.run_id, logs.job_id, kind).is_file()
        for kind in (LogKind.HOST, LogKind.GUEST)
    )
