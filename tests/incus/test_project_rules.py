"""Projects that forbid what guests need: doctor and a run say so, with commands that allow it."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, wait_for
from incus.guest_project import make_project, use_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer

NAME = "strict"
RESTRICTED = "restricted=true"
TARGETS = """
  plain.jobs.it = { runtime = "incus"; incus.role = "runner"; command = "echo hello"; };
  wired.jobs.it = {
    runtime = "incus"; incus.role = "runner"; incus.network = "@bridge@"; command = "echo hello";
  };
  sized.jobs.it = {
    runtime = "incus"; incus.role = "runner"; command = "echo hello";
    resources = { cpus = 1; memoryMib = 256; };
  };
"""
CASES = [
    ("plain", (RESTRICTED,), ("no directories of the host (`restricted.devices.disk`)",)),
    (
        "wired",
        (
            *(RESTRICTED, "restricted.devices.disk=managed", "restricted.devices.disk.paths=/"),
            *("restricted.devices.nic=block", "restricted.networks.access=other"),
        ),
        (
            "no directories with shifted owners (`restricted.devices.disk.paths` is set)",
            "no bridges of the host (`restricted.devices.nic`)",
            "no access to @bridge@ (`restricted.networks.access`)",
        ),
    ),
    (
        "plain",
        (
            *("limits.instances=0", "limits.containers=0", "limits.cpu=8", "limits.memory=8GiB"),
            *("limits.processes=50000", "limits.disk.pool.@pool@=50GiB"),
        ),
        (
            "no container (`limits.containers` is 0)",
            "job it must have `limits.cpu`",
            "job it must have `limits.memory`",
            "guests must have `limits.processes`",
            "size for their root disk (`limits.disk.pool.@pool@` is set)",
        ),
    ),
]
FEATURES = ("features.images=true", "features.profiles=true", "features.networks=false")
AT = ("--project", NAME)


@pytest.fixture(scope="module")
def as_it_was(incus_server: IncusServer) -> Iterator[str]:
    """A project of its own, which has the image; how it is when nothing is forbidden."""
    incus_server.incus("project", "create", NAME, *(f"--config={row}" for row in FEATURES))
    incus_server.import_guest(NAME)
    yield incus_server.incus("project", "show", NAME)
    incus_server.incus("image", "delete", incus_server.image_alias, *AT)
    incus_server.incus("project", "delete", NAME)


@pytest.fixture
def strict(incus_server: IncusServer, as_it_was: str, tmp_path: Path) -> Iterator[Project]:
    """A user's repository whose guests are in that project."""
    root = {"root": {"type": "disk", "path": "/", "pool": incus_server.pool}}
    incus_server.incus("profile", "edit", "default", *AT, stdin=json.dumps({"devices": root}))
    project = make_project(tmp_path, incus_server, TARGETS.replace("@bridge@", incus_server.bridge))
    use_site(project, project=NAME)
    yield project
    wait_for(lambda: not incus_server.incus("list", "--format=csv", "--columns=n", *AT))
    incus_server.incus("project", "edit", NAME, stdin=as_it_was)


@pytest.mark.parametrize(("target", "settings", "texts"), CASES)
def test_what_a_project_forbids_is_said_with_commands_that_allow_it(
    incus_server: IncusServer,
    strict: Project,
    target: str,
    settings: tuple[str, ...],
    texts: tuple[str, ...],
) -> None:
    def filled(words: str) -> str:
        return words.replace("@bridge@", incus_server.bridge).replace("@pool@", incus_server.pool)

    incus_server.incus("project", "set", NAME, *map(filled, settings))
    doctor = strict.here("doctor", "--json")
    assert doctor.code == 75, doctor
    (found,) = (row for row in doctor.json["findings"] if row["name"] == "incus project")
    assert found["status"] == "bad"
    assert found["text"].startswith(f"project {NAME} of Incus refuses guests: ")
    assert found["hint"].startswith(f"`incus project set {NAME} ")
    refused = strict.here("run", target, "--output", "json")
    assert refused.code == 2, refused
    assert f"project {NAME} of Incus refuses guests: " in refused.err
    assert [text for text in texts if filled(text) not in refused.err] == []
    assert strict.run_ids() == []
    for command in re.findall(r"`(incus [^`]+)`", refused.err):
        incus_server.incus(*shlex.split(command)[1:])
    strict.here("run", target, "--wait-removal").passed()


def test_a_project_that_is_full_says_so(incus_server: IncusServer, strict: Project) -> None:
    incus_server.incus("project", "set", NAME, "limits.cpu=1", "limits.memory=128MiB")
    done = strict.here("run", "sized", "--output", "json")
    assert done.code == 75, done
    assert 'Reached maximum aggregate value "128MiB" for "limits.memory"' in done.json["message"]
    assert f"`incus project set {NAME} LIMIT=MORE`" in done.json["cause"]["hint"]
