"""Guests of a cluster of two: they are made on the member whose socket they were asked for at."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from incus.guest_project import make_project
from incus.server import BASE, IncusServer, make_base, own_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = """
  jobs.jobs = builtins.mapAttrs (_: command: {
    runtime = "incus"; incus.role = "runner"; inherit command;
  }) {
    a = "cat README"; b = "cat README";
  };
"""


@pytest.fixture
def members() -> Iterator[tuple[IncusServer, IncusServer]]:
    """Two incusds of this machine."""
    make_base()
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            server = IncusServer(BASE / secrets.token_hex(3))
            stack.enter_context(own_lock(server))
            server.directory.mkdir(mode=0o711)
            stack.callback(server.end)
            server.start()
            found.append(server)
        one, two = found
        one.found_cluster()
        two.join_cluster(one)
        yield one, two


def test_guests_are_on_the_member_that_was_asked_and_both_reach_them(
    members: tuple[IncusServer, IncusServer], tmp_path: Path
) -> None:
    one, two = members
    project = make_project(tmp_path, two, TARGETS)
    # Left to itself, a cluster has two guests on two members.
    project.here("run", "jobs", "--keep", "always").passed()
    assert two.incus("list", "--format=csv", "--columns=L").split() == ["two", "two"]
    there = project.with_env(**one.environment)
    for by in (project, there):
        said = by.pikaci("shell", "latest", "a", "--", "sh", "-c", "cat README; exit 4")
        assert (said.code, said.out) == (4, "hello\n"), said
    there.here("gc", "--keep-runs=0").passed()
    assert two.instances() == []
