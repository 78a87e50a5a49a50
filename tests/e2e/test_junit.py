"""`--junit FILE`, read back by junitparser, by a schema, and by pikaci's own reader."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped

from e2e.project import Done, Project
from jerichoci.test_reports.reading import read_reports

if TYPE_CHECKING:
    from junitparser import TestCase

SCHEMA = Path(__file__).with_name("junit.xsd")
TARGETS = """
  mixed = {
    jobs.good.command = "true";
    jobs.bad.command = ''
      for n in $(seq 1 300); do echo "line $n"; done
      printf 'zero \\000, bell \\a, \\033[31mred\\033[0m, half \\355\\240\\200\\n'
      printf '10%%\\r100%%, ]]> & <b>\\n'
      exit 3
    '';
    jobs.missing.command = "echo no disk; exit 75";
    jobs.late = { command = "echo waiting; sleep 60"; timeoutSecs = 1; };
    jobs.after = { needs = [ "bad" ]; command = "true"; };
    jobs.unit.command = ''
      cat > $PIKACI_ARTIFACTS/unit.tap <<END
      1..3
      ok 1 - fine
      not ok 2 - sum
      # at t/a.t line 12.
      ok 3 - fine, too
      END
      exit 1
    '';
  };
  green = {
    jobs.one.command = "true";
    jobs.two.command = "true";
  };
"""


@dataclass(frozen=True)
class Written:
    """What a run of two targets printed and wrote."""

    project: Project
    done: Done
    path: Path

    def case(self, name: str) -> TestCase:
        (found,) = (case for suite in self.suites() for case in suite if case.name == name)
        return found

    def suites(self) -> JUnitXml:
        return JUnitXml.fromfile(str(self.path))

    def printed(self, name: str) -> str:
        return self.case(name).system_out or ""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    project = Project.committed(tmp_path_factory.mktemp("junit"), TARGETS)
    path = project.root.parent / "made" / "results.xml"
    done = project.here("run", "mixed", "green", "--junit", str(path), "--output", "json")
    return Written(project, done, path)


def test_a_suite_for_each_target_and_a_case_for_each_job(written: Written) -> None:
    assert written.done.code == 1
    found = {suite.name: [case.name for case in suite] for suite in written.suites()}
    assert found == {
        "mixed": ["after", "bad", "good", "late", "missing", "unit"],
        "green": ["one", "two"],
    }
    assert {case.classname for suite in written.suites() for case in suite} == {"mixed", "green"}


def test_results_are_failures_errors_and_skips(written: Written) -> None:
    results = {
        name: [(type(row), row.type) for row in written.case(name).result]
        for name in ("good", "bad", "missing", "late", "unit")
    }
    assert results == {
        "good": [],
        "bad": [(Failure, "command_failed")],
        "missing": [(Error, "command_unavailable")],
        "late": [(Failure, "command_timed_out")],
        "unit": [(Failure, "command_failed")],
    }
    (after,) = written.case("after").result
    assert (type(after), after.message) == (Skipped, "depends on bad, which failed")
    total = written.suites()
    assert (total.tests, total.failures, total.errors) == (8, 3, 1)
    mixed = next(iter(total))
    assert (mixed.tests, mixed.failures, mixed.errors, mixed.skipped) == (6, 3, 1, 1)
    before = [getattr(mixed, name) for name in ("tests", "failures", "errors", "skipped")]
    mixed.update_statistics()  # type: ignore[no-untyped-call]
    assert before == [getattr(mixed, name) for name in ("tests", "failures", "errors", "skipped")]


def test_the_failed_tests_of_a_job_are_in_its_failure(written: Written) -> None:
    (failure,) = written.case("unit").result
    assert failure.message == "1 of 3 tests failed: sum"
    assert failure.text.splitlines() == [
        *("1 of 3 tests failed: sum", "", "sum (t/a.t:12)", "    at t/a.t line 12.")
    ]


def test_status_counts_the_tests(written: Written) -> None:
    (run,) = (row["run_id"] for row in written.done.json["runs"] if row["target_id"] == "mixed")
    status = written.project.here("status", run).passed().out
    assert "tests of unit: 3 tests, 2 passed, 1 failed\n" in status
    (line,) = (line for line in status.splitlines() if line.startswith("unit "))
    assert line.endswith("1 of 3 tests failed: sum")


def test_the_end_of_the_log_is_there_in_characters_that_xml_has(written: Written) -> None:
    lines = written.printed("bad").splitlines()
    assert lines[0].startswith("job bad exited with 3")
    assert lines[-2:] == [
        "zero \\x00, bell \\x07, red, half \ufffd\ufffd\ufffd",
        "100%, ]]> & <b>",
    ]
    (failure,) = written.case("bad").result
    assert failure.text.splitlines()[-2:] == lines[-2:]
    assert len(failure.text.splitlines()) < 30
    assert "line 300" in lines
    assert "line 1" not in lines
    assert any(line.startswith("... ") for line in lines)
    assert written.printed("missing").splitlines()[-1] == "no disk"
    assert "raise `timeoutSecs`" in written.printed("late")


def test_times_and_facts_are_there(written: Written) -> None:
    mixed = next(iter(written.suites()))
    assert 1.0 < written.case("late").time < 60
    assert mixed.time >= written.case("late").time
    rows = mixed.properties()  # type: ignore[no-untyped-call]
    properties = {row.name: row.value for row in rows}
    (record,) = (run for run in written.done.json["runs"] if run["target_id"] == "mixed")
    assert properties == {
        name: record[name] for name in ("run_id", "batch", "status", "snapshot_id", "git_head")
    }


def test_the_file_is_valid(written: Written) -> None:
    xmlschema.XMLSchema(SCHEMA).validate(str(written.path))
    (written.path.with_name("other")).touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in written.path.parent.iterdir()}
    assert len(modes) == 1
    written.path.with_name("other").unlink()
    assert [path.name for path in written.path.parent.iterdir()] == ["results.xml"]


def test_a_viewer_shows_every_job(written: Written, tmp_path: Path) -> None:
    junit2html = Path(sys.executable).with_name("junit2html")
    argv = [junit2html, written.path, tmp_path / "results.html"]
    subprocess.run(argv, check=True, capture_output=True)
    page = (tmp_path / "results.html").read_text()
    assert all(name in page for name in ("after", "bad", "good", "late", "missing", "unit"))
    assert "1 of 3 tests failed: sum" in page


def test_pikaci_reads_what_it_wrote(written: Written, tmp_path: Path) -> None:
    summary = read_reports(
        written.path.parent, ["results.xml"], tmp_path / "tests.jsonl", lambda: False
    )
    assert summary is not None
    assert (summary.total, summary.failed, summary.errors, summary.skipped) == (8, 3, 1, 1)
    assert summary.reports[0].unreadable is None


def test_a_rerun_writes_one_too_and_replaces_the_old(written: Written, tmp_path: Path) -> None:
    project = written.project
    (run,) = (row["run_id"] for row in written.done.json["runs"] if row["target_id"] == "green")
    path = tmp_path / "old.xml"
    path.write_text("old")
    project.here("rerun", run, "--junit", str(path)).passed()
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.name, suite.tests, suite.failures) == ("green", 2, 0)


def test_where_nothing_is_to_be_run_the_file_is_there_and_empty(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project = Project.committed(tmp_path_factory.mktemp("nothing"), TARGETS)
    project.lanes(
        '[[branch.lanes]]\nid = "green"\ntitle = "green"\ntarget = "green"\npaths = ["src/**"]\n'
    )
    project.tree.commit()
    path = project.root.parent / "results.xml"
    argv = ("run", "--lanes", "--changed-since", "HEAD", "--junit", str(path))
    project.here(*argv).passed()
    xmlschema.XMLSchema(SCHEMA).validate(str(path))
    assert JUnitXml.fromfile(str(path)).tests == 0


@pytest.mark.parametrize("where", ["a-file/results.xml", "a-directory"])
def test_a_file_that_cannot_be_written_is_one_sentence_and_the_verdict_stays(
    written: Written, tmp_path: Path, where: str
) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "a-directory").mkdir()
    project = written.project.with_env(PIKACI_RUN_JUNIT=str(tmp_path / where))
    done = project.pikaci("run", "green")
    assert done.code == 0
    (line,) = (line for line in done.err.splitlines() if "could not write" in line)
    assert line.startswith(f"pikaci: could not write {tmp_path / where}: ")
    assert not done.is_our_fault


def test_a_device_is_written_to_and_stays(written: Written) -> None:
    done = written.project.pikaci("run", "green", "--junit", "/dev/stdout")
    assert done.out.startswith("<?xml")
    assert written.project.pikaci("run", "green", "--junit", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
