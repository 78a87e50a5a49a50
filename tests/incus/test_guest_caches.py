"""Caches of jobs in guests: overlays over what earlier guests left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from incus.guest_project import Json, make_project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from incus.server import IncusServer

TARGETS = """
  build.jobs = let
    guest = { runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; };
    caches.deps = { path = "~/.cache/deps"; key = [ "*.lock" ]; };
  in {
    user = guest // {
      inherit caches;
      command = ''
        touch ~/.cache/mine
        cd ~/.cache/deps
        echo found: $(cat list | tr '\\n' ' ') $(ls)
        stat -c '%U %a' . list inner/file
        test -e list && rm -r inner
        mkdir inner; echo x >inner/file; ln -sf file inner/link
        cat "$OLDPWD/step" >>list
        if [ "$(cat "$OLDPWD/step")" = fail ]; then exit 3; fi
      '';
    };
    root = guest // {
      inherit caches;
      runAsRoot = true;
      command = ''
        cd ~/.cache/deps
        echo found: $(ls)
        touch of-root
        systemd-run --version >/dev/null 2>&1
        ! ls /var/lib/pikaci-caches/0/view/upper/list
      '';
    };
    kept-out = guest // {
      inherit caches;
      command = "! ls /var/lib/pikaci-caches/0/view && ! touch /var/lib/pikaci-caches/0/lower/x";
    };
  };
"""


@pytest.fixture
def project(incus_server: IncusServer, tmp_path: Path) -> Project:
    made = make_project(tmp_path, incus_server, TARGETS)
    made.write("Cargo.lock", "one")
    return made


def run(project: Project, step: str, job: str = "user") -> tuple[Json, list[str]]:
    """What the record says of the cache, and what the job printed."""
    project.write("step", f"{step}\n")
    done = project.here("run", "build", "--job", job, "--output", "json")
    (row,) = (row for row in done.json["jobs"] if row["id"] == job)
    log = project.here("logs", "latest", "--job", job, "--kind", "guest").passed().out
    assert row["notes"] == [], row
    used: Json = row["execution"]["caches"]["deps"]
    return used, log.splitlines()


def test_a_guest_finds_what_the_last_one_that_passed_left(project: Project) -> None:
    used, said = run(project, "first")
    assert (used["restored"], used["published"]) == ("new", True)
    assert "found:" in said
    used, said = run(project, "second")
    assert (used["restored"], used["published"]) == ("exact", True)
    assert said == ["found: first inner list", "pikaci 755", "pikaci 644", "pikaci 644"]
    used, said = run(project, "fail")
    assert (used["published"], said[0]) == (False, "found: first second inner list")
    project.write("Cargo.lock", "two")
    used, said = run(project, "third")
    assert (used["restored"], said[0]) == ("nearest", "found: first second inner list")
    used, said = run(project, "root", job="root")
    assert (used["restored"], said[0]) == ("new", "found:")
    run(project, "out", job="kept-out")
    assert {path.name for path in (project.state / "runs").glob("*/scratch/*")} == set()
