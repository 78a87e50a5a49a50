from __future__ import annotations

import pytest

from e2e.project import HELLO, Project, finish, wait_for

TWO = """
  two.jobs = {
    loud.command = "echo from-loud; echo err >&2";
    quiet.command = "echo from-quiet";
  };
  slow.jobs.it.command = "for i in 1 2 3 4 5 6; do echo line-$i; sleep 0.3; done";
  slow2.jobs = {
    a.command = "for i in 1 2 3 4 5 6; do echo a-$i; sleep 0.2; done";
    b.command = "for i in 1 2 3 4 5 6; do echo b-$i; sleep 0.2; done; printf end";
  };
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.define(TWO + HELLO)
    return project


def test_logs_are_what_all_jobs_printed(project: Project) -> None:
    project.run("two")
    lines = project.pikaci("logs", "latest").passed().out.splitlines()
    assert {"==> loud <==", "from-loud", "err", "==> quiet <==", "from-quiet"} <= set(lines)


def test_logs_of_one_job_are_its_own(project: Project) -> None:
    project.run("two")
    lines = project.pikaci("logs", "latest", "--job", "quiet").passed().out.splitlines()
    assert "from-quiet" in lines
    assert not {"from-loud", "==> quiet <=="} & set(lines)


@pytest.mark.parametrize(("kind", "there"), [("host", True), ("both", True), ("guest", False)])
def test_a_host_process_prints_into_the_hosts_log(
    project: Project,
    kind: str,
    there: bool,  # noqa: FBT001 - a column of the table
) -> None:
    project.run("two")
    out = project.pikaci("logs", "latest", "--job", "loud", "--kind", kind).passed().out
    assert ("from-loud" in out) is there


def test_a_builders_output_is_in_the_log_of_the_job_that_needed_it(project: Project) -> None:
    project.run("hello")
    out = project.pikaci("logs", "latest", "--job", "greet").passed().out
    assert "building" in out
    assert "hello" in out.splitlines()


def test_following_a_live_run_shows_all_and_ends_with_it(project: Project) -> None:
    running = project.start("run", "slow")
    wait_for(lambda: project.run_ids() and len(project.events()) > 3)
    following = project.start("logs", "latest", "--follow")
    done = finish(following)
    assert finish(running).code == 0
    assert done.code == 0
    assert done.out == project.log("it")
    assert [f"line-{number}" in done.out for number in range(1, 7)] == [True] * 6


def test_following_several_jobs_labels_whole_lines(project: Project) -> None:
    running = project.start("run", "slow2")
    wait_for(lambda: project.run_ids() and len(project.events()) > 3)
    done = finish(project.start("logs", "latest", "-f"))
    assert finish(running).code == 0
    lines = done.out.splitlines()
    for job in "ab":
        said = [line for line in lines if line.startswith(f"{job}> {job}-")]
        assert said == [f"{job}> {job}-{number}" for number in range(1, 7)]
    assert any("end" in line for line in lines)


def test_following_a_run_that_is_over_is_printing_it(project: Project) -> None:
    project.run("slow")
    assert project.pikaci("logs", "latest", "-f").passed().out == project.log("it")


def test_metadata_says_where_logs_are_and_how_big(project: Project) -> None:
    project.run("hello")
    rows = project.pikaci("logs", "latest", "--metadata-json").passed().json
    kinds = {row["kind"]: row for row in rows}
    assert set(kinds) == {"host", "guest"}
    log = project.run_dir() / "jobs/greet/attempts/1/host.log"
    assert kinds["host"]["path"] == str(log)
    assert kinds["host"]["exists"] is True
    assert kinds["guest"]["exists"] is False
    assert log.stat().st_size in kinds["host"].values()


def test_output_of_any_bytes_is_printed_as_it_is(project: Project) -> None:
    project.define("  odd.jobs.it.command = \"printf '\\\\377\\\\000\\\\n'\";")
    project.run("odd")
    running = project.start("logs", "latest", "--job", "it")
    out, _ = running.communicate(timeout=60)
    assert b"\xff\x00\n" in out
