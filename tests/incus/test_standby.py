"""Guests that stand by for the next job: who gets one, and which are never used."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import wait_for
from incus.guest_project import have_standby, let_go, make_project, started, until
from jerichoci.state.layout import StateLayout
from jerichoci.state.ledger import incus_guests

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from incus.server import IncusServer

RUN = "20260131T235959Z-0123abcd"
TARGETS = """
  one = {
    description = "Says where it is";
    prepare.dep.drv = build "dep" "echo dep > $out";
    jobs.job = {
      runtime = "incus"; incus.role = "runner"; needs = [ "dep" ]; timeoutSecs = 60;
      command = "cat $PIKACI_INPUT_DEP README; echo new > README; ls ~; touch ~/x";
    };
  };
  limited.jobs.job = {
    runtime = "incus"; incus.role = "runner"; command = "true"; timeoutSecs = 60;
    resources = { cpus = 1; memoryMib = 512; pids = 300; };
  };
  waits.jobs.job = {
    runtime = "incus"; incus.role = "runner"; timeoutSecs = 60;
    command = ''@until@'';
  };
  two.jobs = {
    a = { runtime = "incus"; incus.role = "runner"; command = "true"; timeoutSecs = 60; };
    b = { runtime = "incus"; incus.role = "runner"; command = "true"; timeoutSecs = 60; };
  };
"""


@pytest.fixture
def project(tmp_path: Path, incus_server: IncusServer) -> Project:
    made = make_project(tmp_path, incus_server, TARGETS.replace("@until@", until("go")))
    have_standby(made)
    return made


def run(project: Project, target: str = "one", *flags: str) -> dict[str, Any]:
    """What a passed run of a target says of where its job ran."""
    (job,) = project.here("run", target, "--output=json", *flags).passed().json["jobs"]
    found: dict[str, Any] = job["execution"]
    return found


def pool(project: Project) -> list[dict[str, Any]]:
    """The guests that stand by, once Incus has made them."""

    def look() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = project.here("pool", "--json").passed().json
        return rows

    wait_for(lambda: all(row["state"] == "running" for row in look()))
    return look()


def stands_by(project: Project) -> str:
    """The name of the one guest that stands by."""
    (row,) = pool(project)
    return str(row["name"])


def config(incus_server: IncusServer, name: str) -> dict[str, str]:
    (found,) = json.loads(incus_server.incus("list", "--format=json", name))
    values: dict[str, str] = found["config"]
    return values


def test_a_run_leaves_a_guest_that_the_next_job_claims_and_that_is_then_removed(
    project: Project, incus_server: IncusServer
) -> None:
    first = run(project)
    assert "stood_by" not in first
    left = stands_by(project)
    second = run(project)
    assert (second["instance"], second["stood_by"]) == (left, True)
    log = project.here("logs", "latest", "--kind=guest").passed().out
    # It is as fresh as any: the workspace is the snapshot, and no job was there before.
    assert log.split() == ["dep", "hello"]
    assert stands_by(project) != left
    wait_for(lambda: left not in incus_server.instances())
    run(project)
    assert left not in {note.name for note in incus_guests(StateLayout(project.state)).all()}


def test_a_claimed_guest_has_its_jobs_limits_and_labels(
    project: Project, incus_server: IncusServer
) -> None:
    run(project)
    left = stands_by(project)
    with started(project, "run", "waits", f"--run-id={RUN}") as process:
        wait_for(lambda: "user.pikaci.run_id" in config(incus_server, left))
        labels = {
            name.removeprefix("user.pikaci."): value
            for name, value in config(incus_server, left).items()
            if name.startswith("user.pikaci.")
        }
        assert (labels.pop("run_id"), labels.pop("job_id")) == (RUN, "job")
        assert set(labels) == {"owner"}
        let_go(project.state, "job", RUN)
        assert process.wait(60) == 0
    left = stands_by(project)
    assert run(project, "limited", "--keep=always")["instance"] == left
    found = config(incus_server, left)
    names = "limits.cpu", "limits.memory", "limits.processes"
    assert [found[name] for name in names] == ["1", "512MiB", "300"]


def test_one_guest_is_claimed_by_one_of_two_jobs(project: Project) -> None:
    run(project)
    left = stands_by(project)
    jobs = project.here("run", "two", "--output=json").passed().json["jobs"]
    names = [job["execution"]["instance"] for job in jobs]
    assert names.count(left) == 1
    assert len(set(names)) == 2


@pytest.mark.parametrize("what", ["gone", "paused", "profile", "image", "old"])
def test_a_guest_that_does_not_fit_is_removed_and_the_job_gets_another(
    project: Project, incus_server: IncusServer, what: str
) -> None:
    run(project)
    left = stands_by(project)
    match what:
        case "gone":
            incus_server.incus("delete", "--force", left)
        case "paused":
            incus_server.incus("pause", left)
        case "profile":
            # Of an instance that is being stopped, Incus can't change it.
            wait_for(lambda: incus_server.instances() == [left])
            incus_server.incus("profile", "set", "default", "environment.X=y")
        case "image":
            note_made_of(project, left, made_of="another")
        case "old":
            note_made_of(project, left, kept_until=time.time() - 1)
    try:
        assert "stood_by" not in run(project)
    finally:
        if what == "profile":
            wait_for(lambda: len(incus_server.instances()) == 1)
            incus_server.incus("profile", "unset", "default", "environment.X")
    wait_for(lambda: left not in incus_server.instances())
    assert stands_by(project) != left


def note_made_of(project: Project, name: str, **changes: Any) -> None:  # noqa: ANN401 - JSON
    """Change what the state root knows of a guest that stands by."""
    path = project.state / "elsewhere" / "incus" / f"{name}.json"
    note = json.loads(path.read_text())
    for key, value in changes.items():
        (note if key in note else note["standby"])[key] = value
    path.write_text(json.dumps(note))


def test_none_stands_by_unless_it_is_asked_for_or_where_memory_is_short(project: Project) -> None:
    for guests, limits in ((0, {}), (1, {"free_mib": 2**30})):
        have_standby(project, guests, **limits)
        run(project)
        assert "no guest stands by" in project.here("pool").passed().err


def test_reap_keeps_it_until_its_time_is_over_and_the_pool_can_be_cleared(
    project: Project, incus_server: IncusServer
) -> None:
    run(project)
    left = stands_by(project)
    assert left in project.here("pool").passed().out
    project.here("gc", "--keep-runs=0").passed()
    assert stands_by(project) == left
    assert project.here("pool", "--clear").passed().out == "removed 1 guests\n"
    assert pool(project) == []
    wait_for(lambda: left not in incus_server.instances())
    run(project)
    late = stands_by(project)
    note_made_of(project, late, kept_until=time.time() - 1)
    assert f"removed guest {late}" in project.here("reap").passed().out
    assert late not in incus_server.instances()
    assert os.listdir(project.state / "elsewhere" / "incus") == []  # noqa: PTH208 - all names
