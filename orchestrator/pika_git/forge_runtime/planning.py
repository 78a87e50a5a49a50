"""Planning: a change becomes a run, and the catalog of its head says what the run has to run.

The catalog is code of whoever pushed. It is evaluated by `pikaci plan` in a process of its own,
with a deadline, bounded memory, and nothing of the forge in its environment. The head is held
first, so that it is there as long as the run needs it. A run that was being planned when the
service was killed is planned again: its lanes are queued in the one transaction that ends planning.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pika_git.forge_runtime.holds import hold
from pika_git.forge_runtime.plan_set import InvalidSetError, read_plan_set
from pika_git.git import GitError, Repository
from pika_git.persistence import refs, repos, runs

if TYPE_CHECKING:
    from pika_git.data import DataDir
    from pika_git.persistence.database import Database
    from pika_git.persistence.repos import Repo
    from pika_git.persistence.runs import Planning
    from pika_git.pikaci_process import Ended, Pikaci

LANES_FILE = "ci/forge-lanes.toml"
PLAN_SECS = 120.0
"""Deadline of one evaluation, unless the settings say otherwise."""
MOST_AT_ONCE = 2
"""Evaluations at a time; one of a repository."""
NO_LANES_FILE = "No lanes were selected: there is no {file} at {head}."
USAGE = 2


@dataclass
class _Evaluation:
    """A `pikaci plan` that runs."""

    run: Planning
    repo: Repo
    base: str | None
    tree: str
    out: Path
    said: Path
    until: float
    is_late: bool = False


@dataclass
class Planner:
    """Plans runs, some at a time."""

    database: Database
    data: DataDir
    pikaci: Pikaci
    secs: float = PLAN_SECS
    _running: dict[str, _Evaluation] = field(default_factory=dict)

    def step(self) -> None:
        """Take what ended, and begin what there is room for."""
        for end in self.pikaci.ended():
            if (evaluation := self._running.pop(end.id, None)) is not None:
                self._take(evaluation, end)
        self._end_late()
        begin_runs(self.database)
        with self.database.read() as connection:
            waiting = runs.planning(connection)
            known = {repo.id: repo for repo in repos.every(connection)}
        busy = {evaluation.repo.id for evaluation in self._running.values()}
        for run in waiting:
            if len(self._running) >= MOST_AT_ONCE:
                return
            if run.repo_id not in busy and _key(run) not in self._running:
                busy.add(run.repo_id)
                self._begin(run, known[run.repo_id])

    def next_deadline(self) -> float | None:
        """When an evaluation is late, by the monotonic clock; None if none runs."""
        return min((evaluation.until for evaluation in self._running.values()), default=None)

    def _begin(self, run: Planning, repo: Repo) -> None:
        repository = Repository(Path(repo.path))
        try:
            hold(repository, run.id, run.head)
            base = base_of(repository, repo, run)
            tree = repository.tree(run.head)
            lanes = str(Path(repo.flake_dir) / LANES_FILE)
            if not run.asked.targets and repository.file(run.head, lanes) is None:
                message = NO_LANES_FILE.format(file=lanes, head=run.head[:12])
                self._planned(run, tree, base, message)
                return
        except GitError as error:
            self._fail(run, str(error), repository.problem())
            return
        out = self.data.plans(run.repo_id, run.id)
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        printed, said = out.with_suffix(".out"), out.with_suffix(".said")
        for path in (printed, said):
            path.unlink(missing_ok=True)
        state_root = self.data.state_root(run.repo_id)
        state_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        until = time.monotonic() + self.secs
        evaluation = _Evaluation(run, repo, base, tree, out, said, until)
        self._running[_key(run)] = evaluation
        argv = _argv(run, repo, base)
        self.pikaci.start(_key(run), argv, state_root, stdout=printed, stderr=said)

    def _end_late(self) -> None:
        now = time.monotonic()
        for key, evaluation in self._running.items():
            if now >= evaluation.until and not evaluation.is_late:
                evaluation.is_late = True
                self.pikaci.kill(key)

    def _take(self, evaluation: _Evaluation, end: Ended) -> None:
        run, out = evaluation.run, evaluation.out
        if end.exit_code == 0:
            out.with_suffix(".out").replace(out)
            evaluation.said.unlink(missing_ok=True)
            self._planned(run, evaluation.tree, evaluation.base, None)
            return
        if evaluation.is_late:
            text = f"the evaluation took more than {self.secs:.0f} s and was ended"
            self._fail(
                run, text, "does the catalog need that long? see `plan_secs` in the settings"
            )
            return
        said = _last_words(evaluation.said)
        message = said or end.error or f"pikaci plan exited with {end.exit_code}"
        hint = None if end.exit_code == USAGE else "the forge could not plan it: rerun it"
        self._fail(run, message, hint)

    def _planned(self, run: Planning, tree: str, base: str | None, message: str | None) -> None:
        path = self.data.plans(run.repo_id, run.id)
        try:
            found = read_plan_set(path, run.kind) if message is None else None
        except InvalidSetError as error:
            self._fail(run, str(error), "is pikaci of the same version as the forge?")
            return
        with self.database.write() as connection:
            runs.planned(
                connection,
                run.id,
                found.lanes if found else (),
                self.database.clock(connection),
                tree=tree,
                base=base,
                selection=found.selection if found else {},
                message=found.message if found else message,
                broken=found.broken if found else {},
            )

    def _fail(self, run: Planning, message: str, hint: str | None) -> None:
        with self.database.write() as connection:
            runs.failed(connection, run.id, message, hint, self.database.clock(connection))


def begin_runs(database: Database) -> None:
    """Make a run of each change that was seen."""
    with database.read() as connection:
        if not refs.unhandled(connection):
            return
    with database.write() as connection:
        now = database.clock(connection)
        for event in refs.unhandled(connection):
            repo = repos.get(connection, event.repo_id)
            if repo is None or not repo.runs(event.ref):
                refs.handled(connection, event.id, "no lanes: the ref is none that runs", now)
            elif event.new is None:
                runs.end_ref(connection, repo.id, event.ref, now)
                refs.handled(connection, event.id, "the ref was deleted", now)
            elif refs.has_newer(connection, event.id):
                refs.handled(connection, event.id, "superseded before it was planned", now)
            else:
                run = runs.create(
                    connection,
                    repo=repo.id,
                    kind="branch",
                    ref=event.ref,
                    head=event.new,
                    by=event.pusher or "a push",
                    now=now,
                    event=event.id,
                    base=event.old if event.ref == repo.default_branch else None,
                )
                refs.handled(connection, event.id, f"run {run}", now)


def base_of(repository: Repository, repo: Repo, run: Planning) -> str | None:
    """Where the change of a run begins; None if all of its head counts as changed."""
    start = run.base
    if start is None and run.ref != repo.default_branch:
        start = repository.commit(repo.default_branch)
    return repository.merge_base(start, run.head) if start else None


def _argv(run: Planning, repo: Repo, base: str | None) -> list[str]:
    source = f"git+file://{quote(repo.path)}?rev={run.head}"
    argv = ["plan", "--set", "--source", source]
    if repo.flake_dir:
        argv += ["--flake", repo.flake_dir]
    if run.asked.targets:
        return [*argv, *run.asked.targets]
    if run.asked.lanes:
        return [*argv, *(word for lane in run.asked.lanes for word in ("--lane", lane))]
    argv += ["--lanes", "nightly" if run.kind == "nightly" else "branch"]
    return argv if base is None or run.kind == "nightly" else [*argv, "--base", base]


def _key(run: Planning) -> str:
    return f"plan-{run.id}"


def _last_words(path: Path) -> str:
    """What `pikaci plan` said at last: its sentences begin with its name."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    own = [line.removeprefix("pikaci: ") for line in lines if line.startswith("pikaci: ")]
    return (own or lines or [""])[-1]
