"""Planning: a change becomes a run, and the catalog of its head says what the run has to run.

- The catalog is code of the pusher. It is evaluated by `pikaci plan` in a process of its own,
  with a deadline, bounded memory, and nothing of the forge in its environment.
- The head is held first, so that it is there as long as the run needs it.
- A run that was being planned when the service was killed is planned again: its lanes are queued in
  the one transaction that ends planning.
- Pushes take turns. A push of 500 branches has 500 places, and one of a single branch has the first
  one: it waits for what is being planned, and not for the 500.
- One change is evaluated once, however many branches of that push have it.
- An error in planning one run is that run's; the others are planned.
"""

from __future__ import annotations

import logging
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pika_git.forge_runtime.holds import hold
from pika_git.forge_runtime.plan_set import InvalidSetError, is_set, read_plan_set
from pika_git.git import GitError, Repository, TooLargeError
from pika_git.persistence import refs, repos, runs
from pika_git.persistence.database import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database
    from pika_git.persistence.repos import Repo
    from pika_git.persistence.runs import Planning
    from pika_git.pikaci_process import Ended, Pikaci

LANES_FILE = "ci/forge-lanes.toml"
PLAN_SECS = 120.0
"""Deadline of one evaluation, unless the settings say otherwise."""
KILL_SECS = 5.0
"""What an evaluation has to end after it was asked to."""
MOST_AT_ONCE = 2
"""Evaluations at a time; one of a repository."""
RETRY_SECS = (2.0, 20.0)
"""When an evaluation that failed by infrastructure is tried again."""
FREE_BYTES = 128 * 1024 * 1024
"""Less room than this, and nothing is planned: its plans could not be written."""
SAME_SECS = 600.0
"""How long a plan set is good for another run of the same change: what it names may be gone."""
STEP_SECS = 0.2
"""How long one step begins runs: those that need no evaluation are planned at once."""
SAID_BYTES = 64 * 1024
"""How much is read of what an evaluation said: its end, a catalog may print without end."""
NO_LANES_FILE = "No lanes were selected: there is no {file} at {head}."
FIX = "fix it and push again"
USAGE = 2
log = logging.getLogger("pika_git")


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
    is_unwanted: bool = False


@dataclass
class Planner:
    """Plans runs, some at a time."""

    database: Database
    data: DataDir
    pikaci: Pikaci
    secs: float = PLAN_SECS
    _running: dict[str, _Evaluation] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    _not_before: dict[int, float] = field(default_factory=dict)
    _was_full: bool = False
    _has_more: bool = False
    """Whether the last step ended before it had begun all that could begin."""

    def step(self) -> None:
        """Take what ended, and begin what there is room for."""
        self._has_more = False
        for end in self.pikaci.ended():
            if (evaluation := self._running.pop(end.id, None)) is not None:
                self._guarded(evaluation.run, lambda: self._take(evaluation, end))  # noqa: B023
        begin_runs(self.database)
        with self.database.read() as connection:
            waiting = runs.planning(connection, self.database.clock(connection))
            known = {repo.id: repo for repo in repos.every(connection)}
        self._end_late({run.id for run in waiting})
        now = time.monotonic()
        # A time that has come is forgotten: what keeps the run now is not the time.
        self._not_before = {run: at for run, at in self._not_before.items() if at > now}
        if self._is_full():
            return
        busy = {evaluation.repo.id for evaluation in self._running.values()}
        for run in waiting:
            if len(self._running) >= MOST_AT_ONCE:
                return
            if run.repo_id not in busy and run.id not in self._not_before:
                if time.monotonic() > now + STEP_SECS:
                    self._has_more = True
                    return
                self._guarded(run, lambda: self._begin(run, known[run.repo_id]))  # noqa: B023
                if _key(run) in self._running:
                    busy.add(run.repo_id)

    def next_deadline(self) -> float | None:
        """When there is something to do though nothing ended, by the monotonic clock."""
        if self._has_more:
            return time.monotonic()
        times = [evaluation.until for evaluation in self._running.values()]
        return min([*times, *self._not_before.values()], default=None)

    def _begin(self, run: Planning, repo: Repo) -> None:
        repository = Repository(Path(repo.path))
        lanes = str(Path(repo.flake_dir) / LANES_FILE)
        try:
            hold(repository, run.id, run.head)
            tree, file, start = repository.ids(
                f"{run.head}^{{tree}}",
                f"{run.head}:{lanes}",
                f"{run.base or repo.default_branch}^{{commit}}",
            )
            base = base_of(repository, repo, run, start)
            if tree is None:
                raise GitError(f"the commit {run.head[:12]} has no tree: {repo.path} is damaged")  # noqa: TRY301
            if file is not None and not run.asked.targets:
                repository.check_size(file, f"{lanes} of {run.head[:12]}")
        except TooLargeError as error:
            self._fail(run, str(error), FIX)
            return
        except GitError as error:
            self._fail(run, str(error), repository.problem())
            return
        if file is None and not run.asked.targets:
            message = NO_LANES_FILE.format(file=lanes, head=run.head[:12])
            self._planned(run, tree, base, message)
            return
        out = self.data.plans(run.repo_id, run.id)
        if (like := self._planned_like(run, base)) is not None:
            out.unlink(missing_ok=True)
            out.hardlink_to(like)
            self._planned(run, tree, base, None)
            return
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

    def _is_full(self) -> bool:
        was_full, self._was_full = self._was_full, False
        if shutil.disk_usage(self.data.root).free < FREE_BYTES:
            self._was_full = True
            if not was_full:
                text = "the disk of %s is full: nothing is planned until it has room"
                log.error(text, self.data.root)
        return self._was_full

    def _planned_like(self, run: Planning, base: str | None) -> Path | None:
        """The plan set of the same change, if it was made lately: of a branch of the same head."""
        if run.kind not in {"branch", "nightly"}:  # what others were asked for is not kept
            return None
        with self.database.read() as connection:
            since = self.database.clock(connection) - SAME_SECS
            ids = runs.planned_like(connection, run, base, since)
        paths = (self.data.plans(run.repo_id, each) for each in ids)
        return next((path for path in paths if path.is_file()), None)

    def _end_late(self, waiting: set[int]) -> None:
        """End evaluations that take too long, or that no run waits for any more."""
        now = time.monotonic()
        for key, evaluation in self._running.items():
            is_unwanted = evaluation.run.id not in waiting
            if now < evaluation.until and (evaluation.is_unwanted or not is_unwanted):
                continue
            is_asked = evaluation.is_late or evaluation.is_unwanted
            self.pikaci.kill(key, signal.SIGKILL if is_asked else signal.SIGTERM)
            evaluation.is_late = evaluation.is_late or not is_unwanted
            evaluation.is_unwanted = is_unwanted
            evaluation.until = now + KILL_SECS
        for run in self._not_before.keys() - waiting:
            del self._not_before[run]

    def _take(self, evaluation: _Evaluation, end: Ended) -> None:
        run, out = evaluation.run, evaluation.out
        printed = out.with_suffix(".out")
        # Of an evaluation whose server died only its output tells how it ended.
        if end.exit_code == 0 or (end.exit_code is None and not end.error and is_set(printed)):
            printed.replace(out)
            evaluation.said.unlink(missing_ok=True)
            self._planned(run, evaluation.tree, evaluation.base, None)
            return
        printed.unlink(missing_ok=True)
        if evaluation.is_late:
            text = f"the evaluation took more than {self.secs:.0f} s and was ended"
            self._fail(
                run, text, "does the catalog need that long? see `plan_secs` in the settings"
            )
            return
        message = _last_words(evaluation.said) or end.error
        message = message or f"pikaci plan ended with exit status {end.exit_code}"
        if end.exit_code == USAGE:
            self._fail(run, message, FIX)
        elif not evaluation.is_unwanted:
            self._try_again(run, message)

    def _try_again(self, run: Planning, message: str) -> None:
        tries = self._tries.get(run.id, 0)
        if tries >= len(RETRY_SECS):
            self._tries.pop(run.id)
            what = f"planning failed {tries + 1} times, at last: {message}"
            self._fail(run, what, "see what ails the forge's machine, then push or start a run")
            return
        log.warning("planning run %d failed, and is tried again: %s", run.id, message)
        self._tries[run.id] = tries + 1
        self._not_before[run.id] = time.monotonic() + RETRY_SECS[tries]

    def _guarded(self, run: Planning, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseError:
            raise  # planned again when it is back
        except Exception as error:
            log.exception("planning run %d failed", run.id)
            self._fail(run, f"the forge failed to plan it: {error!r}", "its log has more")

    def _planned(self, run: Planning, tree: str, base: str | None, message: str | None) -> None:
        self._tries.pop(run.id, None)
        path = self.data.plans(run.repo_id, run.id)
        try:
            found = read_plan_set(path, run.kind) if message is None else None
        except InvalidSetError as error:
            self._fail(run, str(error), error.hint)
            return
        if found and (mistake := found.mistake):
            self._fail(run, mistake[0], mistake[1] or FIX)
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
                refs.handled(connection, event.id, "no lanes: pushes to this ref do not run", now)
            elif refs.has_newer(connection, event.id):
                refs.handled(connection, event.id, "superseded before it was planned", now)
            elif event.new is None:
                runs.end_ref(connection, repo.id, event.ref, now)
                refs.handled(connection, event.id, "the ref was deleted", now)
            else:
                is_default = event.ref == repo.default_branch
                base = runs.start_of(connection, repo.id, event.ref) if is_default else None
                run = runs.create(
                    connection,
                    repo=repo.id,
                    kind="branch",
                    ref=event.ref,
                    head=event.new,
                    by=event.pusher or "a push",
                    now=now,
                    event=event.id,
                    base=base,
                )
                refs.handled(connection, event.id, f"run {run}", now)


def base_of(repository: Repository, repo: Repo, run: Planning, start: str | None) -> str | None:
    """Where the change of a run begins; None if all of its head counts as changed.

    `start` is the run's base or the default branch. A default branch that was moved back, or that
    shares no history with what it was, has changed as a whole.
    """
    if start is None or (run.base is None and run.ref == repo.default_branch):
        return None
    base = repository.merge_base(start, run.head)
    is_back = base == run.head and run.ref == repo.default_branch
    return None if is_back else base


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
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - SAID_BYTES))
            lines = file.read(SAID_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    own = [line.removeprefix("pikaci: ") for line in lines if line.startswith("pikaci: ")]
    return (own or lines or [""])[-1]
