"""The merge gate on a real repository, with pushes in between; lanes end by the queue's tables."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update

from pika_git.data import DataDir
from pika_git.forge_runtime.poll import poll
from pika_git.forge_service import merge_result
from pika_git.forge_service.merge import Gate, Outcome
from pika_git.forge_service.proposal import RefusedError
from pika_git.git import Repository
from pika_git.persistence import queue, repos
from pika_git.persistence.migrate import open_current
from pika_git.persistence.queue import NewLane
from pika_git.persistence.schema import AUDIT, BRANCH, CI_RUN, LANE, MERGE, REF_EVENT
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

LANES = """version = 1
[[branch.lanes]]
id = "check"
target = "check"
paths = ["src/**"]
[[branch.lanes]]
id = "docs"
target = "docs"
paths = ["docs/**"]
"""
MAIN, FEATURE = "refs/heads/main", "refs/heads/feature"


@dataclass
class Forge:
    """A forge whose ingest is this fixture's: heads are taken as they are, runs made by hand."""

    tree: UserTree
    git: Repository
    gate: Gate

    @classmethod
    def below(cls, directory: Path) -> Forge:
        tree = UserTree(directory / "work").init()
        tree.write("ci/forge-lanes.toml", LANES)
        tree.write("src/a", "1")
        tree.write("docs/a", "1")
        tree.commit()
        tree.git("clone", "--quiet", "--bare", ".", str(directory / "bare"))
        tree.git("remote", "add", "origin", str(directory / "bare"))
        data = DataDir(directory / "data").make()
        database = open_current(data)
        repository = Repository(directory / "bare")
        with database.write() as connection:
            where, heads = str(repository.path), repository.refs().commits
            repos.add(connection, name="d", path=where, default_branch=MAIN, heads=heads, now=0)
        return cls(tree, repository, Gate(database, data))

    def push(self, branch: str, **files: str) -> str:
        """Commit files to a branch that begins at main, and push it."""
        known = self.tree.git("branch", "--list", branch)
        self.tree.git("checkout", "--quiet", *([branch] if known else ["-b", branch, "main"]))
        for name, content in files.items():
            self.tree.write(name.replace("__", "/"), content)
        head = self.tree.commit()
        self.tree.git("push", "--quiet", "origin", branch)
        self.poll()
        return head

    def poll(self) -> None:
        """Take in what was pushed, and say that its run was made: `ran` makes it."""
        database = self.gate.database
        with database.read() as connection:
            repo = repos.every(connection)[0]
        poll(database, repo)
        with database.write() as connection:
            connection.execute(update(REF_EVENT).values(handled_at=1))

    def branch(self, ref: str = FEATURE) -> Any:  # noqa: ANN401 - a row
        with self.gate.database.read() as connection:
            return connection.execute(select(BRANCH).where(BRANCH.c.ref == ref)).one()

    def ran(self, commit: str, kind: str = "branch", **lanes: str) -> int:
        """A run of a commit whose lanes have these states."""
        database, branch = self.gate.database, self.branch()
        with database.write() as connection:
            values = {"repo_id": 1, "branch_id": branch.id, "ref": branch.ref, "kind": kind}
            values |= {"head": commit, "tree": self.git.tree(commit), "created_by": "a"}
            values |= {"state": "queued", "created_at": 0}
            done = connection.execute(insert(CI_RUN).values(values).returning(CI_RUN.c.id))
            run: int = done.scalar_one()
            self.end(connection, run, lanes)
        return run

    def end(self, connection: Any, run: int, lanes: dict[str, str]) -> None:  # noqa: ANN401
        names = [NewLane(n, n, n, 1, None, (), "why", None, None) for n in lanes]
        queue.enqueue(connection, run, names, 0)
        for name, state in lanes.items():
            chosen = (LANE.c.run_id == run) & (LANE.c.name == name)
            connection.execute(update(LANE).where(chosen).values(state=state))
        state = next((s for s in lanes.values() if s != "success"), "success")
        finished = None if state in {"queued", "running"} else 1
        query = select(CI_RUN.c.head).where(CI_RUN.c.id == run)
        tree = self.git.tree(connection.execute(query).scalar_one())
        changed = {"state": state, "finished_at": finished, "tree": tree}
        connection.execute(update(CI_RUN).where(CI_RUN.c.id == run).values(changed))

    def merge(self, *, force: bool = False) -> Outcome:
        return self.gate.merge(self.branch().id, "ann", "it is good", force=force)

    def refused(self, *, force: bool = False) -> str:
        main = self.git.commit(MAIN)
        with pytest.raises(RefusedError) as refusal:
            self.merge(force=force)
        assert self.git.commit(MAIN) == main
        return refusal.value.message

    def rows(self, table: Any) -> list[Any]:  # noqa: ANN401
        with self.gate.database.read() as connection:
            return list(connection.execute(select(table)).all())


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.below(tmp_path)


def test_a_green_branch_is_merged_by_a_commit_of_both(forge: Forge) -> None:
    head = forge.push("feature", src__a="2")
    main = forge.git.commit(MAIN)
    forge.ran(head, check="success")
    outcome = forge.merge()
    assert outcome.state == "merged"
    assert forge.git.commit(MAIN) == outcome.merge_commit
    parents = forge.git.out("show", "--no-patch", "--format=%P", outcome.merge_commit)
    assert parents.strip() == f"{main} {head}"
    assert (forge.branch().state, forge.branch().merge_commit) == ("merged", outcome.merge_commit)
    assert forge.branch(MAIN).head == outcome.merge_commit, "our own update is taken in"
    (entry,) = forge.rows(AUDIT)
    assert (entry.who, entry.action, entry.why) == ("ann", "merge", "it is good")


def test_a_branch_that_selects_no_lane_is_merged(forge: Forge) -> None:
    forge.ran(forge.push("feature", other="2"))
    assert forge.merge().state == "merged"


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("failed", "lane check failed in run 1"),
        ("running", "lane check runs (run 1)"),
        ("queued", "lane check is queued (run 1)"),
        ("skipped", "lane check was skipped in run 1"),
    ],
)
def test_a_lane_that_is_not_green_is_named(forge: Forge, state: str, sentence: str) -> None:
    forge.ran(forge.push("feature", src__a="2"), check=state)
    assert forge.refused() == sentence


def test_a_rerun_that_is_green_counts(forge: Forge) -> None:
    head = forge.push("feature", src__a="2")
    forge.ran(head, check="failed")
    forge.ran(head, check="success")
    assert forge.merge().state == "merged"


def test_a_push_whose_run_is_yet_to_be_made_is_refused(forge: Forge) -> None:
    forge.push("feature", src__a="2")
    forge.tree.write("src/a", "3")
    head = forge.tree.commit()
    forge.tree.git("push", "--quiet", "origin", "feature")
    assert forge.refused() == f"the lanes of {head[:12]} are being planned"


def test_a_head_that_has_never_run_runs_merged(forge: Forge) -> None:
    forge.push("feature", src__a="2")
    assert (
        forge.merge().message == "runs check on the merge result; it is merged when run 1 is green"
    )


def test_a_branch_that_gives_a_lane_another_target_is_refused(forge: Forge) -> None:
    other = LANES.replace('target = "check"', 'target = "hello"')
    forge.ran(forge.push("feature", src__a="2", **{"ci/forge-lanes.toml": other}), check="success")
    sentence = "the branch gives lane check another target: hello, not check; --force merges it"
    assert sentence in forge.refused()


def test_a_catalog_that_could_not_be_read_is_red(forge: Forge) -> None:
    run = forge.ran(forge.push("feature", src__a="2"))
    with forge.gate.database.write() as connection:
        broken = {"state": "failed", "message": "flake.nix: syntax error"}
        connection.execute(update(CI_RUN).where(CI_RUN.c.id == run).values(broken))
    assert forge.refused() == "run 1 failed: flake.nix: syntax error"


def test_a_branch_cant_drop_the_lane_that_it_fails(forge: Forge) -> None:
    without = LANES.replace('id = "check"', 'id = "other"')
    forge.ran(
        forge.push("feature", src__a="2", **{"ci__forge-lanes.toml": without}), other="success"
    )
    assert forge.refused() == "main requires lane check, and the merge result has no such lane"


def test_a_branch_cant_narrow_the_paths_of_the_lane_that_it_fails(forge: Forge) -> None:
    narrow = LANES.replace("src/**", "src/b")
    head = forge.push("feature", src__a="2", **{"ci__forge-lanes.toml": narrow})
    forge.ran(head)
    outcome = forge.merge()
    assert (outcome.state, outcome.message.split(";")[0]) == (
        "waiting",
        "runs check on the merge result",
    )


def test_a_conflict_names_the_paths(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    forge.push("main", src__a="3")
    assert forge.refused() == "feature conflicts with main in src/a"
    assert forge.refused(force=True) == "feature conflicts with main in src/a"


def test_what_the_target_brought_elsewhere_needs_no_other_run(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    forge.push("main", docs__b="3")
    assert forge.merge().state == "merged"


def test_lanes_that_the_target_touched_run_on_the_merge_result_first(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2", docs__a="2"), check="success", docs="success")
    forge.push("main", src__b="3")
    outcome = forge.merge()
    assert (outcome.state, outcome.run_id) == ("waiting", 2)
    run = forge.rows(CI_RUN)[1]
    assert (run.kind, run.head, run.state) == ("merge", outcome.merge_commit, "planning")
    assert run.selection == {"asked": {"lanes": ["check"], "targets": []}}
    assert forge.git.commit("refs/pikaci/held/2") == outcome.merge_commit
    assert forge.merge() == Outcome(
        "waiting", outcome.merge_commit, 2, "it is merged when run 2 is green"
    ), "asked again, it is the same merge"
    assert forge.gate.settle() == 0
    with forge.gate.database.write() as connection:
        forge.end(connection, 2, {"check": "success"})
    assert forge.gate.settle() == 1
    assert forge.git.commit(MAIN) == outcome.merge_commit
    assert forge.branch().state == "merged"


def waiting(forge: Forge) -> Outcome:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    forge.push("main", src__b="3")
    return forge.merge()


def test_red_on_the_merge_result_is_not_merged(forge: Forge) -> None:
    waiting(forge)
    with forge.gate.database.write() as connection:
        forge.end(connection, 2, {"check": "failed"})
    assert forge.gate.settle() == 1
    (row,) = forge.rows(MERGE)
    assert (row.state, row.message) == ("refused", "run 2, on the merge result, is failed")
    assert forge.branch().state == "open"
    assert forge.refused() == "lane check failed in run 2, on the merge result"


@pytest.mark.parametrize("who", ["main", "feature"])
def test_a_push_while_the_merge_result_is_tested_ends_the_merge(forge: Forge, who: str) -> None:
    waiting(forge)
    forge.push(who, docs__c="4")
    before = forge.git.commit(MAIN)
    with forge.gate.database.write() as connection:
        forge.end(connection, 2, {"check": "success"})
    assert forge.gate.settle() == 1
    assert forge.git.commit(MAIN) == before
    (row,) = forge.rows(MERGE)
    assert (row.state, row.message) == ("refused", f"{who} moved meanwhile")


def between(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, who: str, times: int, **files: str
) -> None:
    """Push between the decision and the update of the ref."""
    left = list(range(times))

    def move(git: Repository, *args: Any) -> None:  # noqa: ANN401
        if left:
            forge.push(who, **files, **{f"other{left.pop()}": "x"})
        merge_result.move(git, *args)

    monkeypatch.setattr("pika_git.forge_service.merge.move", move)


def test_a_push_to_the_branch_in_the_last_moment_is_not_merged(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    between(forge, monkeypatch, "feature", 1, src__a="bad")
    assert forge.refused() == "feature moved meanwhile"
    assert [row.state for row in forge.rows(MERGE)] == ["refused"]


def test_a_push_to_the_branch_right_after_its_merge_stays_open(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")

    def move(*args: Any) -> None:  # noqa: ANN401
        merge_result.move(*args)
        forge.push("feature", src__a="3")

    monkeypatch.setattr("pika_git.forge_service.merge.move", move)
    assert forge.merge().state == "merged"
    assert forge.branch().head == forge.git.commit(FEATURE)
    assert (forge.branch().state, forge.branch().merge_commit) == ("open", None)


def test_a_push_to_the_target_in_the_last_moment_is_looked_at(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    between(forge, monkeypatch, "main", 1, docs__x="1")
    outcome = forge.merge()
    assert outcome.state == "merged"
    assert forge.git.run("cat-file", "-e", f"{outcome.merge_commit}:docs/x").code == 0


def test_a_target_that_never_rests_is_given_up(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    between(forge, monkeypatch, "main", 9)
    with pytest.raises(RefusedError, match="main moved meanwhile"):
        forge.merge()


def test_two_at_once_merge_it_once(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    said: list[str] = []

    def ask() -> None:
        try:
            said.append(forge.merge().state)
        except RefusedError as refused:
            said.append(refused.message)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("merged") == 1, said
    count = forge.git.out("rev-list", "--merges", "--count", MAIN)
    assert count == "1"


def test_an_admin_merges_what_is_red_and_what_was_overruled_is_kept(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="failed")
    assert forge.merge(force=True).state == "merged"
    (entry,) = forge.rows(AUDIT)
    assert (entry.action, entry.why) == ("merge by force", "it is good")
    assert entry.detail["overruled"] == "lane check failed in run 1"


@pytest.mark.parametrize("state", ["closed", "merged", "deleted"])
def test_a_branch_that_is_not_open_is_refused(forge: Forge, state: str) -> None:
    forge.push("feature", src__a="2")
    with forge.gate.database.write() as connection:
        connection.execute(update(BRANCH).where(BRANCH.c.ref == FEATURE).values(state=state))
    assert forge.refused() == f"feature is {state}"


def test_what_the_target_has_already_and_the_target_itself_are_refused(forge: Forge) -> None:
    forge.tree.git("push", "--quiet", "origin", "main:feature")
    forge.poll()
    assert forge.refused() == "main has all of feature already"
    with pytest.raises(RefusedError, match="main is what others are merged into"):
        forge.gate.merge(forge.branch(MAIN).id, "ann")
    with pytest.raises(RefusedError, match="there is no branch 99"):
        forge.gate.merge(99, "ann")


class KilledError(BaseException):
    pass


def killed_in(forge: Forge, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    def die(*_args: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(f"pika_git.forge_service.merge.{function}", die)
        with pytest.raises(KilledError):
            forge.merge()
    assert forge.branch().state == "open"


def test_a_forge_killed_after_the_branch_was_moved_says_merged_later(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    killed_in(forge, monkeypatch, "Gate._done")
    moved = forge.git.commit(MAIN)
    for _ in range(2):
        forge.gate.recover()
        assert (forge.branch().state, forge.branch().merge_commit) == ("merged", moved)
    assert [row.state for row in forge.rows(MERGE)] == ["merged"]
    assert len(forge.rows(AUDIT)) == 1


def test_a_forge_killed_before_the_branch_was_moved_merges_later(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="success")
    killed_in(forge, monkeypatch, "move")
    forge.gate.recover()
    assert forge.branch().state == "merged"
    assert forge.git.commit(MAIN) == forge.branch().merge_commit


def test_closing_cancels_what_waits(forge: Forge) -> None:
    forge.ran(forge.push("feature", src__a="2"), check="queued")
    forge.gate.close(forge.branch().id, "ann", "no longer wanted")
    assert forge.branch().state == "closed"
    (lane,) = forge.rows(LANE)
    assert (lane.state, lane.cancel_reason) == ("cancelled", "feature was closed")
    assert forge.refused() == "feature is closed"
    with pytest.raises(RefusedError, match="feature is not open: closed"):
        forge.gate.close(forge.branch().id, "ann")


def test_a_branch_that_is_being_merged_is_not_closed(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = waiting(forge)
    with forge.gate.database.write() as connection:
        forge.end(connection, 2, {"check": "success"})

    def move(*args: Any) -> None:  # noqa: ANN401
        with pytest.raises(RefusedError, match="feature is being merged at this moment"):
            forge.gate.close(forge.branch().id, "ann", "no longer wanted")
        merge_result.move(*args)

    monkeypatch.setattr("pika_git.forge_service.merge.move", move)
    assert forge.gate.settle() == 1
    assert (forge.git.commit(MAIN), forge.branch().state) == (outcome.merge_commit, "merged")
    assert [row.state for row in forge.rows(MERGE)] == ["merged"]
