"""What doctor says of a real Incus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from incus.guest_project import make_project, use_site

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from incus.conftest import MakePool
    from incus.server import IncusServer

TARGETS = 'hello.jobs.it.command = "true";'


@pytest.fixture
def project(incus_server: IncusServer, tmp_path: Path) -> Project:
    return make_project(tmp_path, incus_server, TARGETS)


def look(project: Project, code: int = 0) -> dict[str, dict[str, Any]]:
    done = project.here("doctor", "--json")
    assert done.code == code, done
    assert done.json["schema_version"] == 1
    return {row.pop("name"): row for row in done.json["findings"]}


def test_all_that_guests_need_is_there(project: Project, incus_server: IncusServer) -> None:
    found = look(project)
    assert found["incus"]["text"].endswith(f" at {incus_server.socket}")
    assert found["incus project"]["text"] == incus_server.project
    assert found["incus pool"]["text"] == f"{incus_server.pool}, btrfs"
    assert "MiB free in" in found["pool space"]["text"]
    assert f"{incus_server.image_alias}, container" in found["image runner"]["text"]
    assert f"{incus_server.bridge} of Incus" in found["bridges"]["text"]
    assert "images: runner" in found["catalog"]["text"]
    assert ("guest memory" in found) is not incus_server.limits_guests
    assert {row["status"] for row in found.values()} <= {"ok", "note"}
    assert all(row["hint"] for row in found.values() if row["status"] != "ok")
    out = project.here("doctor").passed().out
    assert "ok   image runner " in out
    assert "BAD" not in out


def test_what_is_missing_is_said_with_what_to_do(
    project: Project, incus_server: IncusServer
) -> None:
    use_site(project, project="other")
    missing = look(project, 75)["incus project"]
    assert missing["status"] == "bad"
    assert "`incus project create other`" in missing["hint"]
    incus_server.incus("project", "create", "other")
    try:
        found = look(project, 75)
        assert "no root disk" in found["incus pool"]["text"]
        assert "`incus profile device add default root" in found["incus pool"]["hint"]
        assert "project other of Incus has no image" in found["image runner"]["text"]
        use_site(project, project="other", pool="none")
        assert "no storage pool none" in look(project, 75)["incus pool"]["text"]
        use_site(project, project="other", profile="none")
        assert "no profile none" in look(project, 75)["incus profile"]["text"]
    finally:
        incus_server.incus("project", "delete", "other")


def test_a_pool_of_driver_dir_is_noted(project: Project, make_pool: MakePool) -> None:
    use_site(project, pool=make_pool("slow"))
    found = look(project)["incus pool"]
    assert found["status"] == "note"
    assert found["text"].startswith("slow, dir: ")
    assert "btrfs" in found["hint"]


def test_incus_may_not_run(project: Project, incus_server: IncusServer) -> None:
    incus_server.stop()
    try:
        found = look(project, 75)
        assert found["incus"]["status"] == "bad"
        assert found["incus"]["hint"].startswith("start it")
        project.write("flake.nix", "{ outputs = _: { }; }")
        assert look(project)["incus"]["status"] == "note"
        assert look(project)["catalog"]["status"] == "note"
    finally:
        incus_server.start()
