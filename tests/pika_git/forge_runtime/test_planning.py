from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from forge_pushes import LANES, MAIN, TARGETS, Pushes
from pika_git.forge_runtime import planning
from pika_git.persistence import queue, repos
from pika_git.pikaci_process import Pikaci

if TYPE_CHECKING:
    from pathlib import Path

LONG = """
  unit = { trigger = "branch"; jobs.unit.command = let
    numbers = builtins.genList (x: x) 100000;
    in if builtins.all (a: builtins.all (b: true) numbers) numbers then "true" else "false"; };
"""
HUGE = """
  unit = { trigger = "branch"; jobs.unit.command = let
    big = builtins.genList (x: x + 1) 20000000;
    in toString (builtins.foldl' (a: b: a + b) 0 big); };
"""
ONE_LANE = """
[[branch.lanes]]
id = "unit"
target = "unit"
"""
MANY = 60
"""More branches than the service makes runs of at once."""


def test_a_push_runs_the_lanes_that_its_change_selects(forge: Pushes) -> None:
    forge.with_lanes().plan()
    forge.tree.git("switch", "-q", "-c", "topic")
    head = forge.commit_file("docs/a")
    run = forge.pushed("topic")
    assert (run.state, run.kind, run.ref) == ("queued", "branch", "refs/heads/topic")
    assert (run.head, run.base) == (head, forge.git("rev-parse", MAIN))
    assert run.tree == forge.git("rev-parse", f"{head}^{{tree}}")
    assert forge.lanes() == {"docs": "queued"}
    chosen = {row["id"]: row["selected"] for row in json.loads(run.selection)["lanes"]}
    assert chosen == {"unit": False, "docs": True, "night": False}
    (lane,) = forge.rows("SELECT * FROM lane WHERE run_id = :run", run=run.id)
    assert lane.plan_path == str(forge.data.plans(forge.repo_id, run.id))
    assert lane.why == "docs/a matches docs/**"


def test_the_first_push_of_the_default_branch_runs_every_branch_lane(forge: Pushes) -> None:
    run = forge.with_lanes().plan()
    assert (run.base, forge.lanes()) == (None, {"unit": "queued", "docs": "queued"})
    groups = {row.name: row.group_name for row in forge.rows("SELECT * FROM lane")}
    assert groups == {"unit": "linux", "docs": None}


def test_the_default_branch_runs_what_changed_since_its_last_verdict(forge: Pushes) -> None:
    first = forge.with_lanes().plan()
    forge.end_lanes(first.id)
    forge.commit_file("docs/a")
    second = forge.pushed()
    assert (second.base, forge.lanes()) == (first.head, {"docs": "queued"})


def test_what_a_newer_push_cut_short_runs_with_it(forge: Pushes) -> None:
    first = forge.with_lanes().plan()
    forge.end_lanes(first.id)
    forge.commit_file("docs/a")
    forge.pushed()
    forge.commit_file("src/code", "2")
    third = forge.pushed()
    # The docs lane was cancelled: its change is still to be tested.
    assert (third.base, forge.lanes()) == (first.head, {"docs": "queued", "unit": "queued"})


def test_what_was_pushed_while_the_catalog_was_broken_runs_when_it_is_whole(forge: Pushes) -> None:
    first = forge.with_lanes().plan()
    forge.end_lanes(first.id)
    whole = forge.project.path("targets.nix").read_text()
    forge.commit_file("docs/a")
    forge.commit_file("targets.nix", "{")
    assert forge.pushed().state == "failed"
    forge.commit_file("targets.nix", whole)
    third = forge.pushed()
    assert (third.base, forge.lanes()) == (first.head, {"docs": "queued"})


def test_pushes_that_were_seen_together_are_one_change(forge: Pushes) -> None:
    first = forge.with_lanes().plan()
    forge.end_lanes(first.id)
    forge.commit_file("docs/a")
    forge.push("HEAD:refs/heads/main")
    forge.poll()
    forge.commit_file("src/code", "2")
    assert forge.pushed().base == first.head
    assert forge.lanes() == {"docs": "queued", "unit": "queued"}
    outcomes = [row.outcome for row in forge.rows("SELECT outcome FROM ref_event ORDER BY id")]
    assert outcomes[1] == "superseded before it was planned"


def test_a_default_branch_that_is_moved_back_runs_every_branch_lane(forge: Pushes) -> None:
    a = forge.with_lanes().plan()
    forge.end_lanes(a.id)
    forge.commit_file("docs/a")
    forge.pushed()
    run = forge.pushed(f"{a.head}:refs/heads/main", force=True)
    assert (run.head, forge.lanes()) == (a.head, {"unit": "queued", "docs": "queued"})


def test_to_b_and_back_to_a_runs_a_again_and_supersedes_both(forge: Pushes) -> None:
    a = forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    b = forge.pushed()
    again = forge.pushed(f"{a.head}:refs/heads/main", force=True)
    assert (again.head, again.state) == (a.head, "queued")
    assert forge.lanes(a.id) == {"unit": "cancelled", "docs": "cancelled"}
    assert set(forge.lanes(b.id).values()) == {"cancelled"}
    assert [row.superseded_by for row in forge.runs()] == [b.id, again.id, None]


def test_a_push_supersedes_only_its_own_ref(forge: Pushes) -> None:
    main = forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    topic = forge.pushed("HEAD:refs/heads/topic")
    assert set(forge.lanes(main.id).values()) == {"queued"}
    assert set(forge.lanes(topic.id).values()) == {"queued"}


def test_a_deleted_branch_ends_what_waits_for_it(forge: Pushes) -> None:
    forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    topic = forge.pushed("HEAD:refs/heads/topic")
    forge.pushed(":refs/heads/topic")
    assert forge.lanes(topic.id) == {"unit": "cancelled"}


def test_a_branch_that_was_deleted_and_pushed_again_runs(forge: Pushes) -> None:
    forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    forge.pushed("HEAD:refs/heads/topic")
    forge.push(":refs/heads/topic")
    forge.poll()
    run = forge.pushed("HEAD:refs/heads/topic")
    assert (run.state, forge.lanes()) == ("queued", {"unit": "queued"})


def test_a_branch_of_another_history_runs_every_branch_lane(forge: Pushes) -> None:
    forge.with_lanes().plan()
    forge.tree.git("switch", "-q", "--orphan", "other")
    forge.project.define(TARGETS)
    forge.project.lanes(LANES)
    forge.tree.write("docs/other")
    forge.tree.commit()
    run = forge.pushed("other")
    assert (run.base, forge.lanes()) == (None, {"unit": "queued", "docs": "queued"})


def test_no_lane_selected_is_said_and_is_no_success(forge: Pushes) -> None:
    forge.end_lanes(forge.with_lanes().plan().id)
    forge.commit_file("other/a")
    run = forge.pushed()
    why = "none of 1 changed file matches the path filter of any of the 2 lanes"
    assert (run.state, run.message) == ("skipped", f"No lanes were selected: {why}.")
    assert run.finished_at is not None


def test_a_head_without_lanes_file_says_so(forge: Pushes) -> None:
    head = forge.commit_file("a")
    run = forge.pushed()
    said = f"No lanes were selected: there is no ci/forge-lanes.toml at {head[:12]}."
    assert (run.state, run.message) == ("skipped", said)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("flake.nix", "{", "syntax error"),
        ("flake.nix", "{ outputs = _: { }; }", "pikaci"),
        ("ci/forge-lanes.toml", "version = 1\n[[branch.lanes]]\nid = 'unit'\npath = []\n", "path"),
        ("ci/forge-lanes.toml", "version = 1\n[[branch.lanes]\n", "lanes.toml:2:15"),
        ("ci/forge-lanes.toml", f"version = 1{LANES}".replace('"docs"', '"none"'), "none"),
        ("ci/forge-lanes.toml", b"\xff\xfe", "UTF-8"),
        ("ci/forge-lanes.toml", b"#" * 1024**2 + b"#", "is larger than 1 MiB"),
        ("targets.nix", 'system: { unit.jobs.unit.comand = "true"; }', 'found "comand"'),
    ],
)
def test_a_broken_catalog_is_a_failed_run_with_its_sentence(
    forge: Pushes, file: str, content: str | bytes, says: str
) -> None:
    forge.with_lanes().plan()
    forge.tree.write(file, content)
    forge.tree.commit()
    run = forge.pushed()
    assert (run.state, run.hint) == ("failed", "fix it and push again")
    assert says in run.message
    assert forge.lanes() == {}
    forge.release()
    assert forge.held() == []


def test_a_plan_set_that_is_too_large_fails_its_run(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pika_git.forge_runtime.plan_set.SET_BYTES", 100)
    run = forge.with_lanes().plan()
    assert run.state == "failed"
    assert "take more than" in run.message
    assert "fewer targets" in run.hint
    assert forge.lanes() == {}


def test_of_what_an_evaluation_said_only_the_end_is_read(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("wb") as file:
        file.truncate(1024**4)  # more than there is memory
        file.seek(0, os.SEEK_END)
        file.write(b"\npikaci: it is broken\nhint: fix it\n")
    assert planning._last_words(said) == "it is broken"


def test_a_target_without_a_plan_fails_its_lane_alone(forge: Pushes) -> None:
    docs = 'docs = { trigger = "branch"; jobs.docs.command = "true"; };'
    broken = docs.replace('"true"', 'throw "no docs today"')
    run = forge.with_lanes(targets=TARGETS.replace(docs, broken)).plan()
    assert forge.lanes() == {"unit": "queued", "docs": "failed"}
    (lane,) = forge.rows("SELECT * FROM lane WHERE name = 'docs'")
    assert "no docs today" in json.loads(lane.cause)["message"]
    assert run.state in {"queued", "running"}


def test_an_evaluation_that_takes_too_long_is_ended(forge: Pushes) -> None:
    forge.with_lanes(ONE_LANE, LONG).poll()
    with forge.planner(secs=3.0) as planner:
        run = forge.plan(planner)
    assert run.state == "failed"
    assert "took more than 3 s" in run.message


def test_an_evaluation_that_wants_too_much_memory_fails_its_run(forge: Pushes) -> None:
    forge.with_lanes(ONE_LANE, HUGE).poll()
    with forge.planner(limits=("prlimit", f"--as={768 * 1024**2}", "--")) as planner:
        run = forge.plan(planner)
    assert run.state == "failed"
    assert "memory" in run.message


def test_a_push_ends_the_evaluation_of_the_head_before(forge: Pushes) -> None:
    forge.with_lanes(ONE_LANE, LONG).poll()
    with forge.planner() as planner:
        planner.step()
        assert forge.runs()[-1].state == "planning"
        forge.project.define(TARGETS)
        forge.project.lanes(LANES)
        forge.tree.commit()
        forge.push("HEAD:refs/heads/main")
        assert forge.plan(planner).state == "queued"
    assert [row.state for row in forge.runs()] == ["cancelled", "queued"]


def test_an_evaluation_that_was_killed_is_tried_again(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pika_git.forge_runtime.planning.RETRY_SECS", (0.1, 0.1))
    forge.with_lanes(ONE_LANE, LONG).poll()
    with forge.planner() as planner:
        later = time.monotonic() + 60
        while forge.runs()[-1:] == [] or forge.runs()[-1].state == "planning":
            assert time.monotonic() < later
            planner.step()
            planner.pikaci.kill("plan-1", signal.SIGKILL)
            time.sleep(0.02)
    run = forge.runs()[-1]
    assert run.state == "failed"
    assert run.message == "planning failed 3 times, at last: killed by signal 9"


def test_a_run_that_was_being_planned_when_the_service_was_killed_is_planned(
    forge: Pushes,
) -> None:
    before, after = (replace(forge, pikaci=None) for _ in range(2))
    forge.with_lanes().poll()
    with before.planner() as planner:
        planner.step()
    assert after.plan().state == "queued"
    assert forge.lanes() == {"unit": "queued", "docs": "queued"}


def test_a_push_waits_for_no_push_of_many_branches(forge: Pushes) -> None:
    forge.with_lanes().plan()
    tree = forge.git("rev-parse", "main^{tree}")
    lines = ""
    for number in range(MANY):  # each its own commit: none is evaluated for another
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        commit = forge.git(*identity, "commit-tree", "-p", "main", "-m", str(number), tree)
        lines += f"create refs/heads/many/{number} {commit}\n"
    forge.git("update-ref", "--stdin", stdin=lines.encode())
    forge.poll()
    with forge.planner() as planner:
        planner.step()
        forge.commit_file("src/code", "2")
        forge.push("HEAD:refs/heads/topic")
        forge.poll()
        later = time.monotonic() + 60
        query = "SELECT state FROM ci_run WHERE ref = 'refs/heads/topic'"
        while [row.state for row in forge.rows(query)] not in (["queued"], ["running"]):
            assert time.monotonic() < later
            planner.step()
            time.sleep(0.02)
    planned = forge.rows("SELECT ref FROM ci_run WHERE ref LIKE '%many%' AND state != 'planning'")
    assert len(planned) < 20


def test_many_branches_of_one_change_are_evaluated_once(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    forge.push(*(f"HEAD:refs/heads/many/{number}" for number in range(MANY)))
    started: list[str] = []
    real = Pikaci.start

    def counts(self: Pikaci, key: str, *args: Any, **named: Any) -> None:  # noqa: ANN401
        started.append(key)
        real(self, key, *args, **named)

    monkeypatch.setattr(Pikaci, "start", counts)
    forge.plan()
    assert len(started) == 1
    lanes = forge.rows(
        "SELECT plan_path FROM lane JOIN ci_run ON ci_run.id = run_id"
        " WHERE kind = 'branch' AND ci_run.ref LIKE '%many%'"
    )
    assert len(lanes) == MANY
    assert len({row.plan_path for row in lanes}) == MANY


def test_a_full_disk_is_said_once_and_planning_waits_for_room(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forge.with_lanes().poll()
    with forge.planner() as planner, monkeypatch.context() as patched:
        patched.setattr("pika_git.forge_runtime.planning.FREE_BYTES", 1 << 62)
        planner._not_before[1] = time.monotonic()  # its retry is due, and has to wait for room
        for _ in range(3):
            planner.step()
            assert planner.next_deadline() is None
    assert caplog.text.count("is full") == 1
    assert forge.runs()[0].state == "planning"
    assert forge.plan().state == "queued"


def test_an_error_in_one_run_is_that_runs(forge: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.with_lanes()
    forge.push("HEAD:refs/heads/topic")
    forge.poll()
    real = forge.data.plans

    def plans(_data: object, repo: int, run: int) -> Path:
        if run == 1:
            raise ValueError("of a test")
        return real(repo, run)

    monkeypatch.setattr("pika_git.data.DataDir.plans", plans)
    forge.plan()
    assert [row.state for row in forge.runs()] == ["failed", "skipped"]
    assert "of a test" in forge.runs()[0].message


def test_only_refs_of_the_repositorys_patterns_run(tmp_path: Path, warm: Pikaci) -> None:
    forge = Pushes.below(
        tmp_path, pikaci=warm, run_refs=("refs/heads/main", "refs/tags/v*")
    ).with_lanes()
    forge.tree.git("tag", "-a", "-m", "1", "v1")
    forge.tree.git("tag", "other")
    forge.push("HEAD:refs/heads/topic", "v1", "other")
    forge.plan()
    assert {row.ref for row in forge.runs()} == {MAIN, "refs/tags/v1"}
    outcome = forge.rows("SELECT outcome FROM ref_event WHERE ref = 'refs/heads/topic'")
    assert outcome[0].outcome == "no lanes: pushes to this ref do not run"


@pytest.mark.parametrize("name", ["-x", "100%", "%2e", "日本/ü", "a'b\"c", "$(x)", "y" * 230])
def test_a_branch_of_any_name_is_planned(forge: Pushes, name: str) -> None:
    forge.with_lanes()
    forge.push(f"HEAD:refs/heads/{name}")
    forge.plan()
    states = {row.ref: row.state for row in forge.runs()}
    assert states == {MAIN: "queued", f"refs/heads/{name}": "skipped"}


def test_the_heads_of_runs_are_held_until_they_are_over(forge: Pushes) -> None:
    run = forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    forge.tree.git("commit", "-q", "--amend", "-m", "another")
    other = forge.pushed("HEAD:refs/heads/main", force=True)
    forge.release()
    assert forge.held() == [f"refs/pikaci/held/{other.id}"]
    forge.end_lanes(other.id)
    forge.release()
    assert forge.held() == []
    assert [row.held for row in forge.runs()] == [0, 0]
    assert run.id != other.id


def test_the_head_of_a_run_that_is_planned_again_is_released_in_the_end(forge: Pushes) -> None:
    forge.with_lanes(LANES.replace("paths", "path"))
    run = forge.plan()
    forge.release()
    assert (run.state, forge.held()) == ("failed", [])
    queue.recover_run(forge.database, run.id, "ann", "try it again")
    assert forge.plan().state == "failed"
    assert forge.held() == [f"refs/pikaci/held/{run.id}"]
    forge.release()
    assert forge.held() == []


def test_a_head_under_test_survives_a_force_push_and_gc(forge: Pushes) -> None:
    forge.with_lanes().plan()
    head = forge.commit_file("src/code", "2")
    forge.pushed("HEAD:refs/heads/topic")
    forge.push(f"{forge.git('rev-parse', MAIN)}:refs/heads/topic", force=True)
    forge.git("-c", "gc.pruneExpire=now", "gc", "-q")
    assert forge.git("cat-file", "-t", head) == "commit"


def test_clients_see_nothing_of_what_the_forge_holds(forge: Pushes) -> None:
    forge.with_lanes().plan()
    assert forge.held()
    seen = forge.tree.git("ls-remote", str(forge.bare)).decode()
    assert "pikaci" not in seen


def test_a_head_that_is_gone_is_a_failed_run(forge: Pushes) -> None:
    forge.with_lanes().plan()
    forge.commit_file("src/code", "2")
    forge.push("HEAD:refs/heads/topic")
    forge.poll()
    forge.git("update-ref", "-d", "refs/heads/topic")
    forge.git("-c", "gc.pruneExpire=now", "gc", "-q")
    with forge.planner() as planner:
        planner.step()
    run = forge.runs()[-1]
    assert run.state == "failed"
    assert "could not keep the commit" in run.message


def test_a_repository_that_is_gone_fails_only_its_runs(forge: Pushes) -> None:
    forge.with_lanes().poll()
    forge.bare.rename(forge.bare.with_name("moved"))
    run = forge.plan()
    assert run.state == "failed"
    assert run.hint == f"there is no directory {forge.bare}"
    forge.release()
    with forge.database.read() as connection:
        assert repos.get(connection, forge.repo_id) is not None


def test_an_evaluation_has_nothing_of_the_forge_in_its_environment(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PH_TOKEN", "ph_secret")
    from pika_git.pikaci_process import environment

    assert "PH_TOKEN" not in environment(forge.data.root)
