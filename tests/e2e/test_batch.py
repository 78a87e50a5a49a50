"""Several targets in one command: a record each, evaluated once, and one exit code."""

from __future__ import annotations

import json
import signal
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from e2e.project import RUN_ID, Json, Project, finish, processes, wait_for
from jerichoci.plan.validation import adapter
from jerichoci.record.event import parse_event
from pikaci.schemas import described

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Done

SHARING = """
  one = {
    description = "The first";
    prepare.shared.drv = build "shared" "echo shared > $out";
    jobs.it = { needs = [ "shared" ]; command = "cat $PIKACI_INPUT_SHARED"; };
  };
  two = {
    prepare.shared.drv = build "shared" "echo shared > $out";
    prepare.own.drv = build "own" "echo own > $out";
    jobs.it = { needs = [ "shared" "own" ]; command = "cat $PIKACI_INPUT_SHARED"; };
  };
  three.jobs.it.command = "echo three";
"""
ENDS = """
  passes.jobs.it.command = "true";
  fails.jobs.it.command = "exit 3";
  hangs.jobs.it = { command = "sleep 60"; timeoutSecs = 1; };
  needs = {
    prepare.dep.drv = build "dep" "echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
  slow.jobs.it.command = "exec -a @marker@ sleep 60";
  slower.jobs.it.command = "exec -a @marker@ sleep 60";
  thrown.jobs.it.command = throw "no such thing";
"""
LANED = """
  first = { trigger = "branch"; jobs.it.command = "true"; };
  second = { trigger = "branch"; jobs.it.command = "cat file"; };
  third = { trigger = "nightly"; jobs.it.command = "true"; };
"""
LANES = """
nightly_schedule_utc = "02:30"
[[branch.lanes]]
id = "always"
target = "first"
[[branch.lanes]]
id = "again"
target = "first"
paths = ["other"]
[[branch.lanes]]
id = "files"
target = "second"
paths = ["file"]
[[nightly.lanes]]
id = "third"
target = "third"
"""


@pytest.fixture
def ends(tmp_path: Path) -> Project:
    """Targets that end in every way."""
    return Project.committed(tmp_path, ENDS)


@pytest.fixture
def laned(tmp_path: Path) -> Project:
    """Targets with lanes."""
    project = Project.below(tmp_path)
    project.define(LANED)
    project.lanes(LANES)
    project.write("file", "then\n")
    project.tree.init()
    project.tree.commit()
    return project


def records(project: Project) -> dict[str, Json]:
    """The records of all runs, by target."""
    found = [project.record(run_id) for run_id in project.run_ids()]
    return {record["target_id"]: record for record in found}


def targets(project: Project) -> list[str]:
    """Those of all runs, the oldest first."""
    return [project.record(run_id)["target_id"] for run_id in project.run_ids()]


def sleeping(project: Project) -> int:
    """How many jobs sleep."""
    return len([line for line in processes(project.marker) if "exec" not in line])


class Several:
    """One command that ran three targets, and how often it called Nix."""

    def __init__(self, directory: Path) -> None:
        self.project = Project.committed(directory, SHARING)
        calls = directory / "calls"
        counting = self.project.shimmed("nix", f'echo "$*" >>{calls}; exec "$real" "$@"')
        self.done: Done = counting.here("run", "two", "one", "three", "--output", "jsonl")
        self.calls = [line.split() for line in calls.read_text().splitlines()]
        self.ids = self.project.run_ids()
        self.records = records(self.project)
        (self.batch,) = {record["batch"] for record in self.records.values()}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Several:
    return Several(tmp_path_factory.mktemp("several"))


def test_each_target_has_a_record_of_its_own_and_all_have_the_batch(several: Several) -> None:
    several.done.passed()
    kept_ids = [several.records[name]["run_id"] for name in ("two", "one", "three")]
    assert several.ids == kept_ids
    for record in several.records.values():
        assert record["status"] == "passed"
        assert [job["id"] for job in record["jobs"]] == ["it"]
    assert len({record["snapshot_id"] for record in several.records.values()}) == 1
    file = several.project.state / "batches" / f"{several.batch}.json"
    kept = json.loads(file.read_bytes())
    assert [run["target_id"] for run in kept["runs"]] == ["two", "one", "three"]
    assert [run["run_id"] for run in kept["runs"]] == several.ids
    assert (kept["schema_version"], kept["batch"]) == (1, several.batch)


def test_all_are_evaluated_once_and_what_they_share_is_built_once(several: Several) -> None:
    assert len([call for call in several.calls if "eval" in call]) == 1
    # The others only root what is there.
    assert len([call for call in several.calls if "--keep-going" in call]) == 1
    one, two = (several.records[name]["run_id"] for name in ("one", "two"))
    assert several.project.log("it", one).count("\nshared\n") == 1
    for run_id, nodes in ((one, 1), (two, 2)):
        outputs = json.loads(
            (several.project.run_dir(run_id) / "prepared-outputs.json").read_bytes()
        )
        assert [row["outcome"] for row in outputs["outputs"]] == ["passed"] * nodes
        roots = list((several.project.run_dir(run_id) / "gcroots").iterdir())
        # An output may have a second root, made when Nix is seen to have it.
        assert len({root.readlink() for root in roots}) == nodes
        assert all(root.exists() for root in roots)


def test_jsonl_has_the_events_of_all_runs_each_as_its_journal_has_them(several: Several) -> None:
    lines = several.done.lines
    for run_id in several.project.run_ids():
        own = [line for line in lines if line["run_id"] == run_id]
        assert own == several.project.events(run_id)
        assert (own[0]["event"], own[-1]["event"]) == ("run_started", "run_finished")
    assert len(lines) == sum(
        len(several.project.events(name)) for name in several.project.run_ids()
    )
    for line in lines:
        parse_event(line)


def test_people_see_every_run(several: Several) -> None:
    done = several.project.here("run", "one", "three").passed()
    assert done.out == ""
    for run_id, name in zip(several.project.run_ids()[-2:], ("one", "three"), strict=True):
        assert any(run_id in line and name in line for line in done.err.splitlines())


def test_json_is_one_document_with_the_final_records(several: Several) -> None:
    found = several.project.here("run", "one", "three", "--output", "json").passed().json
    ids = several.project.run_ids()[-2:]
    assert found["runs"] == [several.project.record(run_id) for run_id in ids]
    assert found["batch"] == found["runs"][0]["batch"]
    assert several.project.here("status", "latest", "--json").passed().json == found
    file = several.project.state / "batches" / f"{found['batch']}.json"
    for name, values in (("status", found), ("batch", json.loads(file.read_bytes()))):
        schema = adapter(described()[name])
        assert schema.dump_python(schema.validate_python(values), mode="json") == values


def test_the_id_of_a_batch_can_be_given(several: Several) -> None:
    several.project.here("run", "one", "three", "--run-id", RUN_ID).passed()
    assert several.project.record()["batch"] == RUN_ID
    before = several.project.run_ids()
    for names in (("one", "three"), ("one",)):
        assert "exists already" in several.project.here("run", *names, "--run-id", RUN_ID).refused()
    assert several.project.run_ids() == before
    taken = several.project.run_ids()[0]
    sentence = several.project.here("run", "one", "three", "--run-id", taken).refused()
    assert "exists already" in sentence


def test_a_target_that_is_named_twice_runs_once_and_has_no_batch(several: Several) -> None:
    before = several.project.run_ids()
    record = several.project.run("one", "one")
    assert (record["target_id"], record["batch"]) == ("one", None)
    assert len(several.project.run_ids()) == len(before) + 1


def test_all_is_every_target_of_the_catalog(several: Several) -> None:
    before = len(several.project.run_ids())
    several.project.here("run", "--all").passed()
    assert sorted(targets(several.project)[before:]) == ["one", "three", "two"]


def test_without_a_target_the_targets_are_listed(several: Several) -> None:
    before = several.project.run_ids()
    done = several.project.here("run")
    assert done.code == 2
    for word in ("one", "The first", "two", "three"):
        assert word in done.err
    assert done.out == ""
    assert several.project.run_ids() == before


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("passes", "fales"), "there is no target 'fales'; did you mean `fails`?"),
        (("passes", "../x"), "'../x'"),
        (("passes", "thrown"), "no such thing"),
        (("passes", "fails", "--job", "it"), "--job"),
        (("passes", "--all"), "--all"),
        (("passes", "--lanes"), "--lanes"),
        (("--all", "--lanes"), "--all"),
        (("--all", "--job", "it"), "--job"),
        (("--lanes",), "forge-lanes.toml"),
        (("passes", "--base", "HEAD"), "--base"),
        (("--lanes", "--head", "HEAD"), "--base"),
        (("--lanes", "--base", "HEAD", "--head", "HEAD", "--changed-since", "HEAD"), "--changed"),
    ],
)
def test_what_can_not_be_run_is_a_sentence_and_nothing_starts(
    ends: Project, args: tuple[str, ...], what: str
) -> None:
    assert what in ends.here("run", *args).refused(2)
    assert ends.run_ids() == []


def test_each_target_that_is_unknown_is_named(ends: Project) -> None:
    done = ends.here("run", "fales", "passes", "slo")
    assert done.code == 2
    assert sorted(line.partition(";")[0] for line in done.err.splitlines()) == [
        "pikaci: there is no target 'fales'",
        "pikaci: there is no target 'slo'",
    ]
    assert ends.run_ids() == []


def test_the_exit_code_is_the_first_of_failure_timeout_infrastructure(ends: Project) -> None:
    broken = ends.shimmed("nix", "export NIX_REMOTE=unix:///nowhere/socket", of="build")
    for names, code in (
        (("passes", "slow", "--fail-fast", "fails"), 1),
        (("passes", "needs"), 75),
        (("needs", "hangs", "passes"), 124),
        (("passes", "needs", "hangs", "fails"), 1),
    ):
        assert broken.here("run", *names).code == code, names
    kinds = {name: record["failure_kind"] for name, record in records(ends).items()}
    assert kinds["fails"] == "test_failure"
    assert kinds["hangs"] == "timeout"
    assert kinds["needs"] == "infrastructure"
    assert kinds["passes"] is None


def test_a_failure_stops_no_other_target_but_with_fail_fast(ends: Project) -> None:
    ends.define('  bad.jobs.it.command = "exit 1";  good.jobs.it.command = "sleep 0.5";' + ENDS)
    assert ends.here("run", "bad", "good").code == 1
    assert records(ends)["good"]["status"] == "passed"
    assert ends.here("run", "bad", "slow", "--fail-fast").code == 1
    slow = records(ends)["slow"]
    assert slow["status"] in {"cancelled", "skipped"}
    assert slow["cause"]["code"] == "fail_fast"
    assert slow["jobs"][0]["status"] in {"cancelled", "skipped"}
    assert processes(ends.marker) == []


def test_jobs_of_all_targets_are_at_most_as_many_at_once_as_asked(ends: Project) -> None:
    job = '{ command = "sleep 0.2"; resources.cpus = 1; }'
    ends.define("".join(f"  t{n}.jobs = {{ a = {job}; b = {job}; }};" for n in range(2)))
    ends.here("run", "--all", "--jobs", "1").passed()
    jobs = [job for record in records(ends).values() for job in record["jobs"]]
    jobs.sort(key=lambda job: job["started_at"])
    assert len(jobs) == 4
    for before, after in pairwise(jobs):
        assert before["finished_at"] <= after["started_at"]


def test_many_targets_open_few_files(ends: Project) -> None:
    prepare = 'prepare.dep.drv = build "dep" "echo > $out";'
    target = f'{{ {prepare} jobs.it = {{ needs = [ "dep" ]; command = "true"; }}; }}'
    ends.define("".join(f"  t{n} = {target};" for n in range(30)))
    argv = ["bash", "-c", 'ulimit -n 115; exec "$@"', "sh", *ends.argv("run", "--all")]
    subprocess.run(argv, cwd=ends.root, env=ends.env(), check=True, timeout=90)
    assert {record["status"] for record in records(ends).values()} == {"passed"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_all(ends: Project, number: signal.Signals) -> None:
    running = ends.start("run", "slow", "slower")
    wait_for(lambda: sleeping(ends) == 2)
    running.send_signal(number)
    assert finish(running).code == 130
    assert {record["status"] for record in records(ends).values()} == {"cancelled"}
    assert processes(ends.marker) == []


def test_a_cancelled_run_of_a_batch_leaves_the_others(ends: Project) -> None:
    go = ends.state.with_name("go")
    ends.define(f'  waits.jobs.it.command = "until test -e {go}; do sleep 0.05; done";' + ENDS)
    running = ends.start("run", "slow", "waits")
    wait_for(lambda: sleeping(ends))
    ends.here("cancel", records(ends)["slow"]["run_id"]).passed()
    wait_for(lambda: records(ends)["slow"]["status"] == "cancelled")
    go.touch()
    assert finish(running).code == 130
    assert records(ends)["waits"]["status"] == "passed"


def test_lanes_are_the_targets_of_all_branch_lanes_each_once(laned: Project) -> None:
    laned.here("run", "--lanes").passed()
    assert targets(laned) == ["first", "second"]


def test_lanes_that_a_change_selects_are_those_of_a_push(laned: Project) -> None:
    base = laned.tree.git("rev-parse", "HEAD").decode().strip()
    laned.write("unrelated")
    head = laned.tree.commit()
    laned.here("run", "--lanes", "--changed-since", base).passed()
    assert targets(laned) == ["first"]
    assert laned.record()["changed_files"] == ["unrelated"]
    laned.write("file", "now\n")
    laned.here("run", "--lanes", "--base", base, "--head", head).passed()
    assert targets(laned) == ["first"] * 2
    record = laned.record()
    assert (record["git_head"], record["git_dirty"]) == (head, False)
    assert record["changed_files"] == ["unrelated"]
    laned.here("run", "--lanes", "--changed-since", base).passed()
    assert targets(laned) == ["first"] * 3 + ["second"]
    assert "now" in laned.log("it")


def test_a_change_that_selects_no_lane_runs_nothing_and_says_so(laned: Project) -> None:
    laned.lanes(LANES.replace('target = "first"\n[[', 'target = "first"\npaths = ["x"]\n[['))
    laned.tree.commit()
    done = laned.here("run", "--lanes", "--changed-since", "HEAD", "--output", "json").passed()
    assert "no lane" in done.err
    assert (done.json["batch"], done.json["runs"]) == (None, [])
    assert "passed" not in done.err
    assert laned.run_ids() == []
