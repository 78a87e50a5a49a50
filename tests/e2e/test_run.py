from __future__ import annotations

import json
import signal
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

from e2e.project import RUN_ID, Json, Project, finish, wait_for
from jerichoci.plan.plan import Plan
from jerichoci.record.event import parse_event
from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord

if TYPE_CHECKING:
    from jerichoci.plan.model import Model

TWO_JOBS = """
  two = {
    jobs.one.command = "echo one";
    jobs.two = { needs = [ "one" ]; command = "echo two"; };
  };
"""


def test_a_run_prepares_and_passes_and_records_what_ran(project: Project) -> None:
    head = project.tree.git("rev-parse", "HEAD").decode().strip()
    done = project.pikaci("run", "hello").passed()
    assert done.out == ""
    (place,) = [line.partition("record ")[2] for line in done.err.splitlines() if "record " in line]
    run = project.run_dir()
    assert place == str(run)
    record = project.record()
    assert (record["status"], record["target_id"]) == ("passed", "hello")
    assert record["target_description"] == "Greets"
    assert record["source_root"] == str(project.root)
    assert (record["git_head"], record["git_dirty"]) == (head, False)
    assert record["tool"]["nix_version"].startswith("2.")
    assert record["snapshot_dir"] == str(project.state / "snapshots" / record["snapshot_id"])
    (job,) = record["jobs"]
    assert (job["status"], job["exit_code"], job["attempt"]) == ("passed", 0, 1)
    (timing,) = record["prepare_timings"]
    assert (timing["outcome"], timing["cached"]) == ("passed", False)
    (artifact,) = job["artifacts"]
    assert artifact["path"] == "greeting.txt"
    files = run / "jobs/greet/attempts/1/artifacts/files"
    assert (files / "greeting.txt").read_text() == "hello\n"
    models: dict[str, type[Model]] = {
        "run.json": RunRecord,
        "plan.json": Plan,
        "prepared-outputs.json": PreparedOutputs,
        "jobs/greet/status.json": JobRecord,
    }
    for name, model in models.items():
        values = json.loads((run / name).read_bytes())
        read = model.model_validate(values)
        written = read.dump() if isinstance(read, Plan) else read.model_dump()
        assert written == values
        assert values["schema_version"] == 1
    assert not {path.name for path in run.iterdir()} & {"scratch", "reserve"}
    assert {path.stat().st_mode & 0o777 for path in (project.state, run)} == {0o700}


def test_json_is_the_final_record_and_a_second_run_finds_everything_cached(
    project: Project,
) -> None:
    project.run("hello")
    record = project.run("hello")
    assert record == project.record()
    (timing,) = record["prepare_timings"]
    assert timing["cached"] is True


def test_jsonl_is_the_journal_valid_gapless_and_in_order(project: Project) -> None:
    project.define(TWO_JOBS)
    done = project.with_env(PIKACI_RUN_OUTPUT="jsonl").here("run", "two").passed()
    assert done.out.encode() == (project.run_dir() / "events.jsonl").read_bytes()
    lines = done.lines
    for line in lines:
        assert parse_event(line).model_dump() == line
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_finished")
    assert lines[-1]["run"] == project.record()
    assert {line["run_id"] for line in lines} == {project.run_ids()[0]}
    ends = [line["job"]["id"] for line in lines if line["event"] == "job_finished"]
    assert ends == ["one", "two"]


def test_jobs_run_at_most_as_many_at_once_as_asked(project: Project) -> None:
    job = 'command = "sleep 0.2"; resources.cpus = 1;'
    project.define(f"  many.jobs = {{ a = {{ {job} }}; b = {{ {job} }}; c = {{ {job} }}; }};")
    jobs = sorted(project.run("many", "--jobs", "1")["jobs"], key=lambda job: job["started_at"])
    for before, after in pairwise(jobs):
        assert before["finished_at"] <= after["started_at"]


def test_fail_fast_ends_the_other_jobs(project: Project) -> None:
    project.define('  many.jobs = { bad.command = "exit 1"; slow.command = "sleep 60"; };')
    done = project.here("run", "many", "--fail-fast")
    assert done.code == 1
    jobs = {job["id"]: job for job in project.record()["jobs"]}
    assert jobs["slow"]["status"] in {"cancelled", "skipped"}
    assert jobs["bad"]["failure_kind"] == "test_failure"


def test_a_failing_job_does_not_end_the_others(project: Project) -> None:
    project.define('  many.jobs = { bad.command = "exit 3"; good.command = "sleep 0.3"; };')
    assert project.here("run", "many").code == 1
    jobs = {job["id"]: job for job in project.record()["jobs"]}
    assert jobs["good"]["status"] == "passed"
    assert jobs["bad"]["exit_code"] == 3


def test_a_reader_that_closes_stdout_does_not_end_the_run(project: Project) -> None:
    command = 'pikaci_run() { "$0" -m pikaci run hello --output jsonl; }; pikaci_run | head -n 1'
    done = subprocess.run(
        ["bash", "-c", command, project.argv()[0]],
        cwd=project.root,
        env=project.env(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["event"] == "run_started"
    assert b"Traceback" not in done.stderr
    assert project.record()["status"] == "passed"


def test_a_terminal_that_hangs_up_does_not_end_the_run(project: Project) -> None:
    project.define('  slow.jobs.it.command = "sleep 1; echo over";')
    running = project.start("run", "slow")
    wait_for(lambda: project.run_ids() and running_job(project.events()))
    running.send_signal(signal.SIGHUP)
    assert finish(running).code == 0
    assert project.record()["status"] == "passed"


def running_job(events: list[Json]) -> bool:
    return any(event.get("phase") == "wait_for_completion" for event in events)


def test_the_state_root_is_where_the_user_wants_it(project: Project) -> None:
    there, home = (project.state.with_name(name) for name in ("elsewhere", "xdg"))
    project.here("run", "hello", "--state-root", str(there), "--run-id", RUN_ID).passed()
    assert [path.name for path in (there / "runs").iterdir()] == [RUN_ID]
    assert not project.state.exists()
    project.with_env(PIKACI_STATE_ROOT="", XDG_STATE_HOME=str(home)).here("run", "hello").passed()
    (slug,) = (home / "pikaci").iterdir()
    assert slug.name.startswith("repo-")
    assert len(slug.name) == len("repo-") + 8
