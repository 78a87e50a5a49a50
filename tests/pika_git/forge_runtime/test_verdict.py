"""From a push to its verdict: service's loop, worker process, `pikaci`, all real."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.project import wait_for
from forge_pushes import Pushes
from pika_git.forge_runtime.hook import install
from pika_git.forge_runtime.loop import Runtime
from pika_git.git import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

TARGETS = """
  unit = { trigger = "branch"; jobs.unit.command = "./test"; };
"""
LANES = """
[[branch.lanes]]
id = "unit"
target = "unit"
"""


@contextmanager
def served() -> Iterator[Pushes]:
    with tempfile.TemporaryDirectory(prefix="forge-") as directory:
        forge = Pushes.below(Path(directory))
        install(Repository(forge.bare), forge.data.hook_socket)
        runtime = Runtime(forge.database, forge.data)
        thread = threading.Thread(target=runtime.run)
        thread.start()
        argv = [sys.executable, "-m", "pika_git", "worker", "--data", str(forge.data.root)]
        worker = subprocess.Popen([*argv, "--name", "w"], env=forge.project.env() | os.environ)
        try:
            yield forge
        finally:
            runtime.stop()
            thread.join()
            worker.terminate()
            worker.wait()


def verdict(forge: Pushes, number: int) -> Row[tuple[object, ...]]:
    """The run of the push of this number, when it is over."""
    query = "SELECT * FROM ci_run WHERE id = :run AND finished_at IS NOT NULL"
    return wait_for(lambda: forge.rows(query, run=number))[0]


def test_pushes_end_in_the_verdict_of_what_they_run() -> None:
    with served() as forge:
        forge.tree.write("test", "#!/bin/sh\nexit 0\n", 0o755)
        forge.with_lanes(LANES, TARGETS)
        assert verdict(forge, 1).state == "success"
        forge.tree.write("test", "#!/bin/sh\nexit 3\n", 0o755)
        head = forge.tree.commit()
        forge.push("HEAD:refs/heads/main")
        red = verdict(forge, 2)
        assert (red.state, red.head) == ("failed", head)
        (lane,) = forge.rows("SELECT * FROM lane WHERE run_id = 2")
        assert lane.failure_kind == "test_failure"
        forge.commit_file("flake.nix", "{")
        forge.push("HEAD:refs/heads/main")
        assert "syntax error" in str(verdict(forge, 3).message)
        wait_for(lambda: not forge.held())
