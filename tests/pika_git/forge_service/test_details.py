from __future__ import annotations

from typing import TYPE_CHECKING

from forge_scenes import Scene, lane
from pika_git.forge_service import details
from pika_git.persistence import queue, repos

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.forge_service.model import Run


def shown(scene: Scene, run: int) -> Run:
    found = details.run(scene.source, run)
    assert found is not None
    return found


def test_a_lane_says_what_it_waited_for_and_how_long_it_ran(scene: Scene) -> None:
    worker, linux = scene.worker(), lane("linux", group_name="linux")
    scene.run(scene.branch(scene.repo(), "main"), [linux])
    holder = scene.claim(worker)
    scene.now += 14
    run = scene.run(scene.branch(1, "fix"), [linux])
    scene.now += 48
    scene.finish(holder)
    scene.now += 14
    claim = scene.claim(worker)
    scene.now += 1022
    scene.finish(claim)
    (found,) = shown(scene, run).lanes
    assert found.sentence == (
        "queued 1m 02s, of which 48 s for group linux held by main #1; ran 17m 02s"
    )
    (attempt,) = found.attempts
    assert (attempt.worker, attempt.host, attempt.state) == ("one", "builder-1", "success")


def test_failures_come_first_and_have_their_cause(scene: Scene) -> None:
    worker = scene.worker(slots=3)
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a"), lane("b"), lane("c"), lane("d")])
    first, second, _ = scene.claim(worker), scene.claim(worker), scene.claim(worker)
    scene.finish(first)
    cause = {"code": "command_failed", "message": "exited with 101", "hint": "see the log"}
    scene.finish(second, "failed", failure_kind="test_failure", cause=cause)
    found = shown(scene, run)
    states = [(each.name, each.state) for each in found.lanes]
    assert states == [("b", "failed"), ("c", "running"), ("d", "queued"), ("a", "success")]
    assert found.lanes[0].cause is not None
    assert found.lanes[0].cause.model_dump(exclude_none=True) == cause
    assert found.line.summary == "check-b failed, 1 running, 1 queued, 1 passed"


def test_a_waiting_lane_has_its_place_its_reason_and_what_ends_it(scene: Scene) -> None:
    scene.worker()
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a"), lane("b", labels=("gpu",))])
    first, second = shown(scene, run).lanes
    assert (first.place, second.place) == (1, 2)
    assert second.wait is not None
    assert second.wait.words == "waits for a worker with label gpu: none has it"
    assert second.wait.ends == "a worker with label gpu is started"


def test_a_cancelled_lane_says_by_whom_and_why(scene: Scene) -> None:
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    scene.now += 5
    queue.cancel_run(scene.database, run, "ann", "wrong branch")
    (found,) = shown(scene, run).lanes
    assert found.sentence.startswith("cancelled by ann (wrong branch); queued 5.0 s")


def test_a_late_result_is_shown_as_refused(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    claim = scene.claim(worker)
    scene.now += 61
    assert queue.adoptable(scene.database, scene.worker("two"))
    ending = queue.Ending(queue.LaneState.SUCCESS)
    assert not queue.finish(scene.database, claim.lane_id, claim.token, ending)
    (attempt,) = shown(scene, run).lanes[0].attempts
    assert attempt.refused is not None
    assert "success" in attempt.refused


def test_a_rerun_names_what_it_runs_again(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    scene.finish(scene.claim(worker))
    again = queue.rerun_run(scene.database, run, "ann", "flaky?")
    assert shown(scene, again).line.rerun_of == run
    assert [each.id for each in shown(scene, run).reruns] == [again]


def test_a_silent_run_is_said_to_make_no_progress(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    claim = scene.claim(worker)
    scene.now += 720
    queue.renew(scene.database, worker, {claim.lane_id: (claim.token, -1)})
    assert shown(scene, run).lanes[0].sentence.endswith("alive, no progress for 12m 00s")
    scene.now += 300
    assert "worker has not been heard of" in shown(scene, run).lanes[0].sentence


def test_lanes_that_were_not_selected_say_why(scene: Scene) -> None:
    selection = '[{"id": "docs", "title": "check-docs", "selected": false, "reason": "no path"}, 3]'
    run = scene.run(scene.branch(scene.repo(), "fix"), state="skipped", selection=selection)
    (left,) = shown(scene, run).left_out
    assert (left.title, left.why) == ("check-docs", "no path")


def test_the_feed_has_the_newest_branch_first_and_goes_on_by_cursor(scene: Scene) -> None:
    repo = scene.repo()
    for number in range(95):
        scene.now += 1
        scene.branch(repo, f"b{number}")
    names, cursor = [], None
    while True:
        page = details.feed(scene.source, cursor)
        names += [each.name for each in page.branches]
        if (cursor := page.next) is None:
            break
    assert names == [f"b{number}" for number in reversed(range(95))]
    assert details.feed(scene.source, "nonsense").branches[0].name == "b94"


def test_a_branch_has_its_newest_run_and_those_before(scene: Scene) -> None:
    branch = scene.branch(scene.repo(), "fix")
    runs = [scene.run(branch, [lane("a")]) for _ in range(25)]
    page = details.branch(scene.source, branch)
    assert page is not None
    assert page.run is not None
    assert page.run.line.id == runs[-1]
    assert [each.id for each in page.runs] == runs[:4:-1]
    rest = details.branch(scene.source, branch, page.next)
    assert rest is not None
    assert [each.id for each in rest.runs] == runs[4::-1]


def test_what_does_not_exist_is_none(scene: Scene) -> None:
    source = scene.source
    assert details.run(source, 9) is None
    assert details.lane(source, 9) is None
    assert details.branch(source, 9) is None


def test_what_keeps_a_repository_from_being_read_is_shown(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "HEAD").write_text("ref: refs/heads/main\n")
    repo = scene.repo(path=str(tmp_path))
    assert details.admin(scene.source).repos[0].error is None
    with scene.database.write() as connection:
        repos.set_problem(connection, repo, "git for-each-ref failed")
    assert details.admin(scene.source).repos[0].error == "git for-each-ref failed"
