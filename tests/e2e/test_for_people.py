"""What people see: progress on a terminal, plain lines elsewhere, logs, shells, help."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress

import pytest

from e2e.project import RUN_ID, Project, finish, wait_for
from pikaci.cli import COMMANDS

TARGETS = """
  slow = {
    description = "Takes its time";
    prepare.dep.drv = build "dep" "echo from-builder; echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "echo from-job; sleep 0.7; echo late"; };
  };
  quick = {
    prepare.dep.drv = build "quick" "echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "echo from-job"; };
  };
  loud = {
    prepare.dep.drv = build "loud" "echo from-builder; echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "echo from-job; echo late"; };
  };
  fails.jobs.it.command = "for i in $(seq 100); do echo line-$i; done; exit 1";
  keeps.jobs.it = { command = "echo made > made; exit 1"; env.STATED = "yes"; };
  limited.jobs.it = { command = "seq 10000; sleep 60"; timeoutSecs = 2; };
  spoken = { description = "→ ✔ 日本"; jobs.it.command = "true"; };
  endless.jobs.it.command = "sleep 60";
  wide.jobs = { one.command = "true"; two.command = "true"; };
  many.jobs = { j1.command = "true"; j2.command = "true"; j10.command = "true"; };
  counted = {
    prepare = builtins.listToAttrs (map (name: {
      inherit name; value.drv = build name "echo > $out";
    }) [ "p1" "p2" "p10" ]);
    jobs.it = { needs = [ "p10" "p2" "p1" ]; command = "cd $PIKACI_ARTIFACTS; touch f1 f2 f10"; };
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    project.write("file", "of the tree\n")
    return project


@pytest.fixture(scope="module")
def elsewhere(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same project with a state root of its own, and one run."""
    elsewhere = project.with_env(PIKACI_STATE_ROOT=str(tmp_path_factory.mktemp("state")))
    elsewhere.run("wide", "--run-id", RUN_ID)
    return elsewhere


def test_a_terminal_shows_progress_and_ends_with_where_the_record_is(project: Project) -> None:
    with project.on_terminal("run", "slow") as screen:
        screen.wait_for("running it")
        screen.wait_for("it> from-job")
        assert screen.wait() == 0
        assert "\x1b[" in screen.raw
        assert "Takes its time" in screen.text
        assert "prepare dep " in screen.text
        assert "job it passed" in screen.text
        last = screen.text.strip().splitlines()[-1]
        assert last == f"record {project.run_dir()}"


def test_interrupting_at_a_terminal_cancels_the_run(project: Project) -> None:
    with project.on_terminal("run", "endless") as screen:
        screen.wait_for("running it")
        screen.type("\x03")
        assert screen.wait() == 130
        assert "cancelled" in screen.text
    assert project.record()["status"] == "cancelled"


def test_a_failure_on_a_terminal_shows_its_last_lines(project: Project) -> None:
    with project.on_terminal("run", "fails") as screen:
        assert screen.wait() == 1
        assert "it> line-100" in screen.text
        assert "it> line-50\n" not in screen.text
        assert "pikaci rerun" in screen.text


def test_no_color_means_no_colour(project: Project) -> None:
    quiet = project.with_env(NO_COLOR="1")
    with quiet.on_terminal("run", "wide") as screen:
        assert screen.wait() == 0
        assert "\x1b[3" not in screen.raw
        assert "\x1b[1;3" not in screen.raw


def test_off_a_terminal_there_is_a_plain_line_for_each_step(project: Project) -> None:
    err = project.here("run", "quick").passed().err
    assert "\x1b" not in err
    lines = err.splitlines()
    assert all(line.startswith("pikaci: ") for line in lines)
    for step in ("run ", "prepare dep ...", "job it started", "job it passed", "passed in"):
        assert any(line.removeprefix("pikaci: ").startswith(step) for line in lines), step
    assert "from-job" not in err


def test_print_logs_shows_what_builders_and_jobs_say(project: Project) -> None:
    err = project.here("run", "loud", "-L").passed().err
    assert "from-builder" in err
    assert {"it> from-job", "it> late"} <= set(err.splitlines())


def test_a_plain_failure_shows_its_last_lines_once(project: Project) -> None:
    for flags in ((), ("-L",)):
        err = project.here("run", "fails", *flags).err
        assert err.count("it> line-100\n") == 1


def test_a_shell_opens_in_a_kept_workspace(project: Project) -> None:
    assert project.here("run", "keeps", "--keep", "on-failure").code == 1
    with project.on_terminal("shell", "latest", "it") as screen:
        screen.wait_for("it$")
        screen.type("echo $((40 + 2)) $STATED; cat made file; exit 5\n")
        assert screen.wait() == 5
        shown = screen.text.splitlines()
        assert {"42 yes", "made", "of the tree"} <= set(shown)


def test_a_workspace_that_was_not_kept_has_no_shell(project: Project) -> None:
    project.here("run", "keeps")
    sentence = project.here("shell", "latest", "it").refused(2)
    assert "did not keep the workspace" in sentence
    assert "--keep" in sentence
    assert "has no job 'other'" in project.here("shell", "latest", "other").refused(2)


def test_help_is_short_and_teaches(project: Project) -> None:
    out = project.here("--help").passed().out
    assert all(command in out and line in out for command, line in COMMANDS.items())
    assert "pikaci run hello" in out
    assert project.here("--version").passed().out.startswith("pikaci ")


def test_help_says_what_is_repeatable_and_what_a_run_id_looks_like(project: Project) -> None:
    for command in ("run", "rerun"):
        text = " ".join(project.here(command, "--help").passed().out.split())
        assert "--run-id ID Id of the new run, such as 20260131T235959Z-0123abcd" in text
        assert ("Run only this job and the jobs it needs (repeatable)." in text) == (
            command == "run"
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_explains_it(project: Project, command: str) -> None:
    out = project.here(command, "--help").passed().out
    assert out.startswith(f"Usage: pikaci {command}")
    explanation, _, flags = out.partition("Options:")
    assert len(explanation.splitlines()) > 2
    for line in flags.splitlines():
        assert not line.rstrip().endswith(("TEXT", "INTEGER"))
    assert project.here(command, "-h").passed().out == out


def test_jobs_are_listed_as_people_count(project: Project) -> None:
    jobs = ["j1", "j2", "j10"]
    run_id = project.run("many")["run_id"]

    def second_words(start: str, *args: str) -> list[str]:
        lines = project.here(*args).passed().out.splitlines()
        return [line.split()[1] for line in lines if line.startswith(start)]

    status = project.here("status", run_id).passed().out.splitlines()
    assert [line.split()[0] for line in status if line.startswith("j")] == jobs
    assert second_words("job ", "plan", "many") == jobs
    assert second_words("==> ", "logs", run_id) == jobs
    assert ",".join(jobs) in project.here("targets").passed().out
    rows = project.here("logs", run_id, "--metadata-json").passed().json
    assert list(dict.fromkeys(row["job_id"] for row in rows)) == jobs
    assert project.complete(f"pikaci logs {run_id} --job ") == jobs
    assert [job["id"] for job in project.record(run_id)["jobs"]] == jobs


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pikaci ru", {"run"}),
        ("pikaci re", {"rerun", "reap", "report"}),
        ("pikaci run ", set(re.findall(r"^  (\w+)", TARGETS, re.MULTILINE))),
        ("pikaci run s", {"slow", "spoken"}),
        ("pikaci plan w", {"wide"}),
        ("pikaci run --fail", {"--fail-fast", "--failed"}),
        ("pikaci run slow --output j", {"json", "jsonl"}),
        ("pikaci status l", {"latest"}),
        ("pikaci status 2026", {RUN_ID}),
        ("pikaci logs ", {"latest", RUN_ID}),
        ("pikaci logs latest --job ", {"one", "two"}),
        ("pikaci shell ", {"latest", RUN_ID, "one", "two"}),
        ("pikaci logs 20260131 --job t", {"two"}),
        ("pikaci logs latest --job=", {"one", "two"}),
        ("pikaci logs latest -f --job ", {"one", "two"}),
        ("pikaci logs --job ", {"one", "two"}),
        ("pikaci logs nowhere --job ", set()),
        ("pikaci shell latest ", {"one", "two"}),
        ("pikaci run slow --job ", {"it"}),
        ("pikaci run wide --job one --job ", {"one", "two"}),
        ("pikaci run nowhere --job ", set()),
    ],
)
def test_the_shell_completes_commands_targets_and_runs(
    elsewhere: Project, typed: str, offered: set[str]
) -> None:
    assert set(elsewhere.complete(typed)) == offered


def test_completion_is_installed_with_one_line(project: Project) -> None:
    done = project.with_env(_PIKACI_COMPLETE="bash_source").here()
    assert "complete -o nosort -F" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("stream", "flags"), [("stdout", ("--output", "jsonl")), ("stderr", ("-L",))]
)
def test_a_reader_that_sleeps_does_not_stop_the_run(
    project: Project, stream: str, flags: tuple[str, ...]
) -> None:
    reader, writer = full_pipe()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    before = project.run_ids()
    running = project.start("run", "limited", *flags, **streams)
    os.close(writer)
    wait_for(lambda: project.run_ids() != before and project.record()["status"] != "running")
    os.close(reader)
    assert finish(running).code == 124


@pytest.mark.parametrize(
    ("closing", "flags"),
    [
        (">&-", ("--output", "json")),
        (">&-", ("--output", "jsonl")),
        ("2>&-", ()),
        ("2>&-", ("-L",)),
        (">&- 2>&-", ("-L", "--output", "jsonl")),
    ],
)
def test_a_run_needs_neither_stdout_nor_stderr(
    project: Project, closing: str, flags: tuple[str, ...]
) -> None:
    argv = ["sh", "-c", f'exec "$@" {closing}', "sh", *project.argv("run", "quick", *flags)]
    assert subprocess.run(argv, cwd=project.root, env=project.env(), check=False).returncode == 0
    assert project.record()["status"] == "passed"
    assert project.events()[-1]["event"] == "run_finished"


def test_json_is_utf_8_in_any_locale(project: Project) -> None:
    latin = project.with_env(PYTHONIOENCODING="latin-1")
    record = latin.pikaci("run", "spoken", "--output", "json").passed().json
    assert record["target_description"] == "→ ✔ 日本"
    narrow = project.with_env(PYTHONIOENCODING="ascii:strict")
    events = narrow.pikaci("run", "spoken", "--output", "jsonl").passed().lines
    assert events == project.events()


def full_pipe() -> tuple[int, int]:
    """A pipe that nothing more goes into: its reading and its writing end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    return reader, writer


def test_prepares_and_artifacts_are_listed_as_people_count(project: Project) -> None:
    run_id = project.run("counted")["run_id"]
    plan = project.here("plan", "counted").passed().out
    needs = next(line for line in plan.splitlines() if line.split()[:1] == ["needs"])
    assert [word.strip(",") for word in needs.split()[1:]] == ["p1", "p2", "p10"]
    status = project.here("status", run_id).passed().out.splitlines()
    paths = [line for line in status if line.startswith("artifact ")]
    assert [path.rpartition("/")[2] for path in paths] == ["f1", "f2", "f10"]


def test_several_options_that_are_alike_are_one_sentence(project: Project) -> None:
    sentence = project.here("run", "--jobz", "x").refused(2)
    assert re.search(r"Did you mean one of: .*\?\) see `pikaci run --help`$", sentence)
