"""Several `pikaci` processes on one state root."""

from __future__ import annotations

import time
from functools import partial

from e2e.project import HELLO, Project, finish, wait_for

RUNS = 6


def test_two_runs_of_one_target_at_once_both_pass(project: Project) -> None:
    both = [project.start("run", "hello", "--output", "json") for _ in range(2)]
    records = [finish(each).passed().json for each in both]
    assert [record["status"] for record in records] == ["passed", "passed"]
    assert records[0]["plan_digest"] == records[1]["plan_digest"]
    assert len(project.run_ids()) == 2


def test_many_runs_share_a_state_root_while_others_look(project: Project) -> None:
    project.define("".join(f'  t{n}.jobs.it.command = "echo t{n}";' for n in range(RUNS)) + HELLO)
    running = [project.start("run", f"t{n}", "--output", "json") for n in range(RUNS)]
    wait_for(project.run_ids)
    for command in ("list", "reap", "gc"):
        project.here(command).passed()
    records = [finish(each).passed().json for each in running]
    assert {record["status"] for record in records} == {"passed"}
    assert {record["target_id"] for record in records} == {f"t{n}" for n in range(RUNS)}
    assert len({record["snapshot_id"] for record in records}) == 1
    assert len(list((project.state / "snapshots").glob("[0-9a-f]*"))) == 1


def test_runs_of_different_trees_at_once_each_see_their_own(project: Project) -> None:
    project.define('  cats.jobs.it.command = "cat file";')
    running = {}
    for number in range(4):
        project.write("file", f"tree-{number}\n")
        running[number] = project.start("run", "cats", "--output", "json")
        wait_for(partial(has_more_runs, project, number))
    for number, process in running.items():
        record = finish(process).passed().json
        assert f"tree-{number}" in project.log("it", record["run_id"]).splitlines()


def has_more_runs(project: Project, than: int) -> bool:
    return len(project.run_ids()) > than


def test_collecting_again_and_again_does_not_harm_runs(project: Project) -> None:
    project.define(
        '  slow = { prepare.dep.drv = build "dep" "echo hi > $out";'
        '    jobs.a.command = "sleep 0.5; cat file";'
        '    jobs.b = { needs = [ "a" "dep" ]; command = "cat file $PIKACI_INPUT_DEP"; }; };'
    )
    project.write("file", "of the tree\n")
    running = project.start("run", "slow")
    while running.poll() is None:
        project.here("gc", "--keep-runs", "0").passed()
        time.sleep(0.02)
    assert finish(running).code == 0
    runs = project.run_ids()
    assert not runs or project.record()["status"] == "passed"
