"""Jobs in guests that have less memory than they need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from incus.guest_project import Json, make_project

if TYPE_CHECKING:
    from incus.server import IncusServer

LIMIT = "out of memory, limit 64 MiB (`resources.memoryMib`)"
TARGETS = """
  jobs.jobs = builtins.mapAttrs (_: job: {
    runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; resources.memoryMib = 64;
  } // job) {
    alone.command = "exec python3 -c 'bytearray(200 << 20)'";
    in-a-shell.command = "python3 -c 'bytearray(200 << 20)'; exit $?";
    as-root = { command = "python3 -c 'bytearray(200 << 20)'; exit $?"; runAsRoot = true; };
    shell.command = ''x=$(yes | head -c 200M); echo ''${#x}'';
    worker.command = "python3 -c 'bytearray(200 << 20)' || exit 3";
    late = { command = "python3 -c 'bytearray(200 << 20)'; sleep 60"; timeoutSecs = 12; };
    copes.command = "python3 -c 'bytearray(200 << 20)' || echo so what";
    unlimited = { command = "true"; resources = { }; };
    killed = { command = "kill -KILL $$"; resources.memoryMib = 512; };
  };
"""


@pytest.fixture(scope="module")
def jobs(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """All of these jobs in one run."""
    project = make_project(tmp_path_factory.mktemp("memory"), incus_server, TARGETS)
    done = project.here("run", "jobs", "--output", "json")
    assert done.code == 1, done
    results = {
        path.parts[-5]: json.loads(path.read_bytes())
        for path in project.run_dir().glob("jobs/*/attempts/1/artifacts/result.json")
    }
    return {row["id"]: {**row, "result": results[row["id"]]} for row in done.json["jobs"]}


@pytest.fixture
def limited(incus_server: IncusServer) -> None:
    if not incus_server.limits_guests:
        pytest.skip("this machine's cgroups don't limit a guest's memory")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("name", ["alone", "in-a-shell", "as-root", "shell"])
def test_a_job_that_is_killed_for_want_of_memory_says_so(jobs: dict[str, Json], name: str) -> None:
    job = jobs[name]
    assert (job["failure_kind"], job["exit_code"]) == ("test_failure", 137)
    assert job["cause"]["message"] == f"job {name} was killed: {LIMIT}"
    assert "raise `resources.memoryMib`" in job["cause"]["hint"]


@pytest.mark.usefixtures("limited")
def test_so_does_one_whose_worker_is(jobs: dict[str, Json]) -> None:
    assert jobs["worker"]["exit_code"] == 3
    assert jobs["worker"]["message"] == (
        f"job worker exited with 3; some of it was killed: {LIMIT}"
    )
    assert jobs["late"]["failure_kind"] == "timeout"
    assert jobs["late"]["message"] == (
        f"job late timed out after 12 s (`timeoutSecs`); some of it was killed: {LIMIT}"
    )


def test_other_ends_are_not_laid_to_memory(jobs: dict[str, Json]) -> None:
    assert jobs["copes"]["status"] == "passed"
    assert jobs["killed"]["exit_code"] == 137
    assert "memory" not in jobs["killed"]["message"]


def test_a_job_says_where_nothing_limits_its_memory(
    jobs: dict[str, Json], incus_server: IncusServer
) -> None:
    unlimited = {name for name, job in jobs.items() if job["result"].get("memory_limited") is False}
    noted = {name for name, job in jobs.items() if "memory" in " ".join(job["notes"])}
    if incus_server.limits_guests:
        assert (unlimited, noted) == ({"unlimited"}, {"copes"})
    else:
        assert (unlimited, noted) == (set(jobs), set(jobs) - {"unlimited"})
