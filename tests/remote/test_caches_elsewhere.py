"""Caches of jobs, and results of host commands, on the host where the work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.conftest import bare_project, project

if TYPE_CHECKING:
    from e2e.project import Project
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

__all__ = ["bare_project", "project"]

TARGETS = """
  t = {
    prepare.made = {
      hostCommand = {
        command = "cat input >made; date +%N >>made";
        outputs = [ "made" ];
        inputs = [ "input" ];
      };
      placement = "remote_ssh"; host = "far1";
    };
    jobs.it = {
      placement = "remote_ssh"; host = "far1";
      needs = [ "made" ];
      caches.own = { path = "/tmp/own-@marker@"; key = [ "input" ]; };
      command = ''
        cat $PIKACI_INPUT_MADE/made
        cat /tmp/own-@marker@/word
        echo kept >/tmp/own-@marker@/word
      '';
    };
  };
"""


@pytest.fixture
def placed(project: Project, far_host: FarHost, hosts_config: WriteHosts) -> Project:
    """A project whose user has `far1` in the hosts file."""
    config = hosts_config(far_host).parent.parent
    placed = project.with_env(XDG_CONFIG_HOME=str(config))
    placed.define(TARGETS)
    placed.write("input", "one\n")
    return placed


def test_a_host_has_what_earlier_runs_left_there(placed: Project) -> None:
    def run() -> tuple[object, object, list[str]]:
        record = placed.here("run", "t", "--output", "json").passed().json
        (job,) = record["jobs"]
        (output,) = placed.here("prepared-outputs", "latest", "--json").passed().json["outputs"]
        said = [row for row in placed.log("it").splitlines() if "> " not in row]
        return job["execution"]["caches"]["own"]["restored"], output["places"][0]["how"], said

    restored, how, first = run()
    assert (restored, how, first[0]) == ("new", "command", "one")
    restored, how, second = run()
    assert (restored, how) == ("exact", "cached")
    assert second == [*first[:2], "kept"]
    assert placed.here("cache", "list", "--json").passed().json == []
    placed.write("input", "two\n")
    restored, how, third = run()
    there = ("--host", "far1")
    rows = placed.here("cache", "list", "--json", *there).passed().json
    assert [(row["host"], row["name"]) for row in rows].count(("far1", "made")) == 2
    assert placed.here("cache", "clear", "made", *there).passed().out == "removed 2 entries\n"
    listed = placed.here("cache", "list", *there).passed().out.splitlines()[1:]
    assert {(row.split()[0], row.split()[-1]) for row in listed} == {("own", "far1")}
    assert "removed" not in placed.here("cache", "clear", "made").refused()
    assert (restored, how, third[0], third[2]) == ("nearest", "command", "two", "kept")
