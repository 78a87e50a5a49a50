"""`pikaci run` of targets whose prepares are on a remote host, and what it says of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import bare_project, project
from jerichoci.record.record import PreparedOutputs

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

__all__ = ["bare_project", "project"]

TARGETS = """
  t = {
    prepare.here.drv = build "here" "echo here, $NIX_BUILD_CORES cores > $out";
    prepare.there = {
      drv = build "there" "echo building; echo there, $NIX_BUILD_CORES cores > $out";
      residency = "remote"; placement = "remote_ssh"; host = "far1";
    };
    prepare.made = {
      hostCommand = { command = "hostname > name"; outputs = [ "name" ]; };
      placement = "remote_ssh"; host = "far1";
    };
    jobs.it = {
      placement = "remote_ssh"; host = "far1";
      needs = [ "here" "there" "made" ];
      command = "cat $PIKACI_INPUT_HERE $PIKACI_INPUT_THERE $PIKACI_INPUT_MADE/name";
    };
  };
"""
INPUT_FLAKE = """
{{
  inputs.text = {{ url = "path:{first}"; flake = false; }};
  outputs = {{ text, ... }}: {{
    pikaci = (import ./pikaci-lib).mkCatalog {{
      systems = [ "{system}" ];
      targets = system: {{
        t = {{
          prepare.dep = {{
            drv = derivation {{
              name = "dep"; inherit system; builder = "/bin/sh"; token = "{token}";
              args = [ "-c" "read line < ${{text}}/text; echo $line > $out" ];
            }};
            residency = "remote"; placement = "remote_ssh"; host = "far1";
          }};
          jobs.it = {{
            placement = "remote_ssh"; host = "far1"; needs = [ "dep" ];
            command = "cat $PIKACI_INPUT_DEP";
          }};
        }};
      }};
    }};
  }};
}}
"""


@pytest.fixture
def placed(project: Project, far_host: FarHost, hosts_config: WriteHosts) -> Project:
    """A project whose user has `far1` in the hosts file."""
    config = hosts_config(far_host).parent.parent
    return project.with_env(XDG_CONFIG_HOME=str(config))


def said(project: Project) -> list[str]:
    return [row for row in project.log("it").splitlines() if "> " not in row]


def test_prepares_come_to_the_host_by_their_ways(placed: Project) -> None:
    placed.define(TARGETS)
    placed.run("t", "--option", "cores", "3")
    assert said(placed) == ["here, 3 cores", "there, 3 cores", "far1"]
    assert re.search(r"^there> building$", placed.log("it"), re.MULTILINE)
    done = placed.here("prepared-outputs", "latest", "--json").passed()
    record = PreparedOutputs.model_validate_json(done.out)
    ways = {row.node_id: [place.how for place in row.places] for row in record.outputs}
    assert sorted(ways.values()) == [["built"], ["built", "copied"], ["command"]]
    lines = placed.here("prepared-outputs", "latest").passed().out.splitlines()
    assert lines[0].split() == ["PREPARE", "HOST", "OUTCOME", "HOW", "MOVED", "PATH"]
    assert sum(" far1 " in line for line in lines) == 3
    (copied,) = (line for line in lines if " copied " in line)
    assert copied.startswith(" ")
    assert " KiB " in copied or " B " in copied


def test_what_is_built_there_has_the_input_that_was_given(placed: Project, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(f"{name}\n")
    placed.define("")
    flake = INPUT_FLAKE.format(first=tmp_path / "first", system=placed.system, token=placed.token)
    placed.write("flake.nix", flake)
    placed.run("t")
    assert said(placed) == ["first"]
    placed.run("t", "--override-input", "text", f"path:{tmp_path / 'second'}")
    assert said(placed) == ["second"]


@pytest.mark.parametrize("flags", [(), ("-L",)])
def test_what_failed_prepares_there_printed_is_shown_once_under_their_ids(
    placed: Project, flags: tuple[str, ...]
) -> None:
    text = TARGETS.replace("hostname > name", "echo boom; printf bang; exit 1")
    placed.define(text.replace("echo there", "exit 1; echo there"))
    done = placed.here("run", "t", *flags)
    assert done.code == 1
    shown = [line for line in done.err.splitlines() if not line.startswith("pikaci: ")]
    assert [line for line in shown if line.startswith("made> ")] == ["made> boom", "made> bang"]
    assert [line for line in shown if line.endswith("> building")] == ["there> building"]
    assert not [line for line in shown if line.startswith("it> ")]


def test_what_is_built_there_now_is_told_as_it_is_here(placed: Project) -> None:
    placed.define(TARGETS.replace("echo building; echo", "sleep 2.5; echo"))
    placed.run("t")
    beats = [event for event in placed.events() if event["event"] == "heartbeat"]
    assert ["there"] in [beat["building"] for beat in beats]
    assert beats[-1]["building"] == []
