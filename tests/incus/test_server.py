"""The tests' own Incus leaves nothing of itself, even where it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from incus.server import ROOT, IncusServer, make_base, private_incus

DEADLINE_SECS = 30
KILLED = """
import time
from incus.server import private_incus
with private_incus() as server:
    server.incus("launch", "--quiet", server.image_alias, "one", f"--network={server.bridge}")
    print(server.directory, flush=True)
    time.sleep(600)
"""


def test_nothing_of_a_server_stays_and_what_a_killed_session_left_goes_with_the_next() -> None:
    make_base()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/tests:{ROOT}/orchestrator"},
        stdout=subprocess.PIPE,
        text=True,
    ) as session:
        assert session.stdout is not None
        left = IncusServer(Path(session.stdout.readline().strip()))
        assert left.mounts()
        session.kill()

    with private_incus() as server:
        assert server.directory != left.directory
        assert_nothing_is_left(left)
        server.incus("launch", "--quiet", server.image_alias, "one")
        server.incus("launch", "--quiet", "--ephemeral", server.image_alias, "two")
        assert server.mounts()
        assert has_loop_device(server)

    assert_nothing_is_left(server)


def assert_nothing_is_left(server: IncusServer) -> None:
    assert server.mounts() == []
    assert not server.directory.exists()
    assert not Path("/sys/class/net", server.bridge).exists()
    # The kernel lets go of it a little later.
    deadline = time.monotonic() + DEADLINE_SECS
    while has_loop_device(server):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def has_loop_device(server: IncusServer) -> bool:
    losetup = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True)
    return str(server.directory) in losetup.stdout
