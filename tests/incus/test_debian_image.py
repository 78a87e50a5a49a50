"""An image of Debian's packages by one key of the catalog, as a person uses it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from incus.guest_project import make_project
from incus.server import debian_guest

if TYPE_CHECKING:
    from e2e.project import Project
    from incus.server import IncusServer

PACKAGES = (Path(__file__).parent / "debian-packages").read_text().split()
"""Of one image for all tests, since making one takes minutes; `make test` begins with it."""
FLAKE = """
{
  outputs = _: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      targets = import ./targets.nix;
      images.tools.debian.packages = [ @packages@ ];
      images.missing.debian.packages = [ "no-such-package-@token@" ];
    };
  };
}
"""
TARGETS = """
  query.jobs.it = {
    runtime = "incus";
    incus.role = "tools";
    command = "echo '{\\"answer\\": 42}' | jq .answer";
  };
"""


@pytest.fixture(scope="module")
def project(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    debian_guest(" ".join(PACKAGES))
    packages = " ".join(f'"{package}"' for package in PACKAGES)
    flake = FLAKE.replace("@packages@", packages)
    made = make_project(tmp_path_factory.mktemp("debian"), incus_server, TARGETS, flake)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return made.with_env(XDG_CACHE_HOME=cache)


@pytest.fixture(scope="module")
def fingerprint(project: Project) -> str:
    assert "`pikaci image import tools`" in project.pikaci("run", "query").refused()
    return project.pikaci("image", "import", "tools").passed().out.strip()


def test_a_job_has_the_packages_of_its_image(project: Project, fingerprint: str) -> None:
    record = project.run("query")
    (job,) = record["jobs"]
    assert job["execution"]["image_fingerprint"] == fingerprint
    assert job["execution"]["image_alias"] == "pikaci/tools"
    assert project.here("logs", "latest").passed().out == "42\n"


def test_an_image_shows_what_it_has(project: Project, fingerprint: str) -> None:
    shown = project.here("image", "show", "tools", "--json").passed().json
    assert shown["fingerprint"] == fingerprint
    assert shown["packages"].keys() >= {"jq", "python3", "bash"}
    assert shown["built_from"].startswith("debian-guest-")
    text = project.here("image", "show", "tools").passed().out
    assert f"  jq {shown['packages']['jq']}\n" in text
    assert "`pikaci image import missing`" in project.here("image", "show", "missing").refused()


def test_an_image_that_is_there_is_not_made_again(project: Project, fingerprint: str) -> None:
    again = project.here("image", "import", "tools").passed()
    assert again.out.strip() == fingerprint
    assert (
        again.err == f"pikaci: pikaci/tools is image {fingerprint[:12]}, which Incus had already\n"
    )
    rows = project.here("image", "list", "--check", "--json").passed().json
    current = {row["role"]: row["current"] for row in rows if row["role"]}
    assert current == {"tools": "yes", "missing": "no"}


def test_a_package_that_is_not_there_is_named(project: Project, fingerprint: str) -> None:
    assert fingerprint
    done = project.pikaci("image", "build", "missing")
    assert done.code == 1, done
    why = f"Unable to locate package no-such-package-{project.token}"
    assert f"pikaci: image missing could not be made: {why}" in done.err
    assert not done.is_our_fault
