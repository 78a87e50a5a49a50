"""Services that are guests of their own, on a bridge beside the guest of their job."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import assert_nothing_is_left, make_project, started
from incus.server import debian_guest

if TYPE_CHECKING:
    from e2e.project import Project
    from incus.guest_project import Json
    from incus.server import IncusServer

# The image has no NixOS in it, and its service is what `ready` starts: as root, in its guest.
TARGETS = """
  beside = { jobs =
    let
      nixos = build "image" "mkdir $out; cp @image@/metadata.tar.xz @image@/rootfs.squashfs $out";
      web = {
        inherit nixos;
        ready = ''
          cd /etc
          [ -e /run/began ] || { : >/run/began; setsid -f python3 -m http.server 80 &>/dev/null; }
          exec 3<>/dev/tcp/127.0.0.1/80
        '';
      };
      guest = { runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; };
      get = name: ''
        until [ -s /etc/resolv.conf ]; do sleep 0.1; done
        python3 -c "import urllib.request as u
        print(u.urlopen('http://${name}/hostname', timeout=10).read().decode())"
      '';
    in
    {
      asks = guest // {
        services = { inherit web; other = web; };
        command = get "web" + get "$PIKACI_SERVICE_OTHER" + "! (exec 3<>/dev/tcp/192.0.2.1/80)";
      };
      late = guest // {
        services.web = { inherit nixos; ready = "echo no table >&2; false"; readySecs = 2; };
        command = "echo never";
      };
    }; };
  waits.jobs.waits = {
    runtime = "incus";
    incus.role = "runner";
    services.web.nixos =
      build "image" "mkdir $out; cp @image@/metadata.tar.xz @image@/rootfs.squashfs $out";
    command = "sleep 300";
  };
"""


@pytest.fixture(scope="module")
def project(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    targets = TARGETS.replace("@image@", str(debian_guest()))
    return make_project(tmp_path_factory.mktemp("services"), incus_server, targets)


@pytest.fixture(scope="module")
def jobs(project: Project) -> dict[str, Json]:
    done = project.here("run", "beside", "--output", "json")
    return {row["id"]: row for row in done.json["jobs"]}


def bridges(server: IncusServer) -> list[str]:
    rows = json.loads(server.incus("network", "list", "--format=json"))
    return [row["name"] for row in rows if row["name"].startswith("pikaci-")]


def test_a_job_reaches_its_services_by_name_and_nothing_else(
    project: Project, jobs: dict[str, Json]
) -> None:
    said = project.here("logs", "latest", "--job", "asks").passed().out
    assert jobs["asks"]["status"] == "passed", (jobs["asks"], said)
    assert said.split().count("pikaci") == 2
    assert set(jobs["asks"]["execution"]["service_guests"]) == {"web", "other"}


def test_a_guest_that_is_not_ready_in_time_is_told_as_the_services_failure(
    jobs: dict[str, Json],
) -> None:
    late = jobs["late"]
    assert (late["failure_kind"], late["cause"]["code"]) == ("test_failure", "service_failed")
    assert late["message"] == "service web was not ready within 2 s (`readySecs`): no table"
    assert late["cause"]["phase"] == "prepare_runtime"


def test_nothing_is_left_of_them(
    project: Project, jobs: dict[str, Json], incus_server: IncusServer
) -> None:
    assert jobs
    assert bridges(incus_server) == []
    assert_nothing_is_left(incus_server, project.state, departing=True)


def test_what_a_killed_run_leaves_is_reaped(project: Project, incus_server: IncusServer) -> None:
    with started(project, "run", "waits") as process:
        wait_for(lambda: len(incus_server.instances()) == 2, 60)
        process.send_signal(signal.SIGKILL)
    assert len(bridges(incus_server)) == 1
    project.here("reap").passed()
    assert incus_server.instances() == []
    assert bridges(incus_server) == []
    assert_nothing_is_left(incus_server, project.state)
