from __future__ import annotations

from typing import TYPE_CHECKING

from forge_scenes import lane
from pika_git.forge_service import details
from pika_git.forge_service.timeline import BEGINS_SECS, waiting_rows

if TYPE_CHECKING:
    from forge_scenes import Scene
    from pika_git.forge_service.model import Lane, Recorded


def looked_at(scene: Scene) -> tuple[Lane, Recorded]:
    found = details.lane(scene.source, 1)
    assert found is not None
    run, its = found
    return its, details.recorded(scene.source, run.repo_id, its.attempts[-1], scene.now)


def test_a_run_that_is_about_to_begin_is_no_damaged_record(scene: Scene) -> None:
    worker = scene.worker()
    scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    claim = scene.claim(worker)
    assert looked_at(scene)[1].problem == f"run {claim.pikaci_run_id} has not begun"
    scene.now += BEGINS_SECS + 1
    assert "can't be shown" in str(looked_at(scene)[1].problem)


def test_phases_prepares_and_waits_are_rows_with_their_times_in_words(scene: Scene) -> None:
    worker = scene.worker()
    scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    scene.now += 48
    claim = scene.claim(worker)
    scene.record(claim, "failed", b"", begun=scene.now, secs=29)
    scene.now += 60
    its, recorded = looked_at(scene)
    (waited,) = waiting_rows(its, scene.now)
    assert (waited.label, waited.words, waited.secs) == ("queue", "queue 48 s", 48.0)
    prepare, job = recorded.timeline
    assert (prepare.words, round(prepare.secs or 0, 1)) == ("built", 8.3)
    assert job.words.startswith("directories 0.1 s · workspace 1.9 s · runtime 6.0 s")
    assert [each.label for each in job.segments if each.outcome == "failed"] == ["command"]


def test_a_job_that_runs_has_a_phase_that_lasts(scene: Scene) -> None:
    worker = scene.worker()
    scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    scene.record(scene.claim(worker), "running", b"", begun=scene.now, secs=29)
    scene.now += 120
    _, recorded = looked_at(scene)
    last = recorded.timeline[-1].segments[-1]
    assert (last.label, last.end) == ("command", None)
    assert recorded.timeline[-1].words.endswith("command 1m 40s")
