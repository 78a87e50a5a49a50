from __future__ import annotations

import pytest

from e2e.project import HELLO, Done, Project, finish, wait_for

TARGETS = """
  two.jobs = {
    loud.command = "echo from-loud; echo err >&2";
    quiet.command = "echo from-quiet";
  };
  slow.jobs.it.command = "for i in 1 2 3 4 5 6; do echo line-$i; sleep 0.2; done";
  slow2.jobs = {
    a.command = "for i in 1 2 3 4 5 6; do echo a-$i; sleep 0.2; done";
    b.command = "for i in 1 2 3 4 5 6; do echo b-$i; sleep 0.2; done; printf end";
  };
  odd.jobs.it.command = "printf '\\\\377\\\\000\\\\n'";
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.committed(tmp_path_factory.mktemp("project"), TARGETS + HELLO)


def test_logs_are_what_jobs_printed_all_of_them_or_one(project: Project) -> None:
    run_id = project.run("two")["run_id"]

    def printed(*args: str) -> set[str]:
        return set(project.here("logs", run_id, *args).passed().out.splitlines())

    lines = project.here("logs", run_id).passed().out.splitlines()
    assert {"==> loud <==", "from-loud", "err", "==> quiet <==", "from-quiet"} <= set(lines)
    assert "from-quiet" in printed("--job", "quiet")
    assert not {"from-loud", "==> quiet <=="} & printed("--job", "quiet")
    for kind, has_it in (("host", True), ("both", True), ("guest", False)):
        assert ("from-loud" in printed("--job", "loud", "--kind", kind)) is has_it


def test_a_builders_output_is_in_the_log_of_the_job_that_needed_it(project: Project) -> None:
    run_id = project.run("hello")["run_id"]
    out = project.here("logs", run_id, "--job", "greet").passed().out
    assert "building" in out
    assert "hello" in out.splitlines()
    rows = project.here("logs", run_id, "--metadata-json").passed().json
    kinds = {row["kind"]: row for row in rows}
    assert set(kinds) == {"host", "guest"}
    log = project.run_dir(run_id) / "jobs/greet/attempts/1/host.log"
    assert kinds["host"]["path"] == str(log)
    assert kinds["host"]["exists"] is True
    assert kinds["guest"]["exists"] is False
    assert log.stat().st_size in kinds["host"].values()


def follow(project: Project, target: str) -> Done:
    """What `logs` prints that follows a new run from its beginning."""
    before = project.run_ids()
    running = project.start("run", target)
    wait_for(lambda: project.run_ids() != before and len(project.events()) > 3)
    done = project.here("logs", "latest", "--follow").passed()
    assert finish(running).code == 0
    return done


def test_following_a_live_run_shows_all_and_ends_with_it(project: Project) -> None:
    done = follow(project, "slow")
    assert done.out == project.log("it")
    assert {f"line-{number}" for number in range(1, 7)} <= set(done.out.splitlines())
    assert project.here("logs", "latest", "-f").passed().out == done.out


def test_following_several_jobs_labels_whole_lines(project: Project) -> None:
    lines = follow(project, "slow2").out.splitlines()
    for job in "ab":
        said = [line for line in lines if line.startswith(f"{job}> {job}-")]
        assert said == [f"{job}> {job}-{number}" for number in range(1, 7)]
    assert any("end" in line for line in lines)


def test_output_of_any_bytes_is_printed_as_it_is(project: Project) -> None:
    project.run("odd")
    running = project.start("logs", "latest", "--job", "it")
    out, _ = running.communicate(timeout=60)
    assert b"\xff\x00\n" in out
