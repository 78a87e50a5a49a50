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
  mixed.jobs = {
    good.command = "echo line 1";
    bad.command = "seq -f 'line %.0f' 100; printf 'Error: \\\\033[1mno\\\\033[0m\\\\n'; exit 1";
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
    assert done.out.splitlines() == [f"line-{number}" for number in range(1, 7)]
    assert project.here("logs", "latest", "-f").passed().out == done.out
    assert project.here("logs", "latest", "-f", "--verbose").passed().out == project.log("it")
    assert project.here("logs", "latest", "-f", "--tail", "2").passed().out == "line-5\nline-6\n"


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
    assert out == b"\xff\x00\n"


def test_what_pikaci_did_is_shown_if_it_is_asked_for(project: Project) -> None:
    project.run("slow")
    printed = project.here("logs", "latest").passed().out
    assert printed.splitlines()[0] == "line-1"
    for flags in (("--verbose",), ("--kind", "host")):
        assert project.here("logs", "latest", *flags).passed().out == project.log("it")
    assert "pikaci> wait_for_completion passed" in project.log("it")


def test_logs_of_failed_jobs_and_their_last_lines(project: Project) -> None:
    assert project.here("run", "mixed").code == 1
    done = project.here("logs", "latest", "--failed").passed()
    assert done.out == "".join(f"line {n}\n" for n in range(1, 101)) + "Error: \033[1mno\033[0m\n"
    assert project.here("logs", "latest", "--failed", "--tail", "0").passed().out == ""
    for count in (1, 2, 7, 5000):
        tail = project.here("logs", "latest", "--failed", "--tail", str(count)).passed().out
        assert tail.splitlines() == done.out.splitlines()[-count:]
    assert project.here("logs", "latest", "--failed", "--job", "good").passed() == Done(
        0, "", "no job failed\n"
    )
    assert "follow" in project.here("logs", "latest", "--failed", "--follow").refused()


def test_lines_that_match_are_printed_with_their_job_and_number(project: Project) -> None:
    project.here("run", "mixed")

    def found(*args: str) -> list[str]:
        return project.here("logs", "latest", "--grep", *args).passed().out.splitlines()

    assert found("line 1$") == ["bad:1:line 1", "good:1:line 1"]
    assert found("^line 9[0-9]$", "--failed", "--tail", "1") == ["99:line 99"]
    assert found("error: no", "-i") == ["bad:101:Error: \033[1mno\033[0m"]
    assert found("error: no", "-i", "--follow") == ["bad:101:Error: \033[1mno\033[0m"]
    lines = project.here("logs", "latest", "--job", "bad").passed().out.splitlines()
    assert lines[100] == "Error: \033[1mno\033[0m"
    done = project.here("logs", "latest", "--grep", "error: no").passed()
    assert done == Done(0, "", "no line matches 'error: no'\n")
    assert "unterminated" in project.here("logs", "latest", "--grep", "(").refused()
