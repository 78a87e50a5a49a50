"""What is left on far hosts, and the commands that remove it."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.project import Done, in_process, wait_for
from jerichoci.remote.host_notes import host_notes, run_name
from jerichoci.snapshot.repository import RECENT_SECS
from plans import RUN_ID
from remote.away import away

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.state.layout import StateLayout
    from remote.far_host import FarHost
    from runner import Runner

COMMAND_SECS = 200.0
LONG_AGO_SECS = RECENT_SECS + 60.0
AGENT = "pikaci-[a]gent"
"""A pattern that command lines of agents match, and not that of who looks for them."""


def pikaci(state: StateLayout, *args: str) -> Done:
    """A command of the program that succeeds, run in this process."""
    # In a thread: a loop may run in this one.
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(in_process, *args, f"--state-root={state.root}").result(COMMAND_SECS)
    assert done.code == 0, done
    assert "Traceback" not in done.err, done
    return done


@contextmanager
def running(runner: Runner, host: FarHost, marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, whose job sleeps on a host by now."""
    begun = host.work_dir / f"begun-{marker}"
    command = f"touch {begun}; bash -c 'exec -a {marker} sleep 600'"
    with runner.start(away("sleeps", command, host)) as process:
        try:
            wait_for(begun.exists)
            wait_for(lambda: runs_there(host, marker))
            yield process
        finally:
            process.kill()
            begun.unlink(missing_ok=True)


def kill_orchestrator(runner: Runner, host: FarHost, marker: str) -> None:
    """Have a job on a host whose orchestrator was killed."""
    with running(runner, host, marker) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def kill_agents(host: FarHost) -> None:
    """Kill every agent of a host, and who relays to one."""
    found = f"grep -la '{AGENT}' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3"
    host.run(["sh", "-c", f"kill -9 $({found})"], check=False)
    wait_for(lambda: not host.run(["sh", "-c", found], check=False).stdout.split())


def runs_there(host: FarHost, marker: str) -> bool:
    """Whether a program is there with the marker as its own name."""
    return any(line.startswith(f"{marker} ") for line in host.processes())


def run_directory(state: StateLayout, host: FarHost, run_id: str = RUN_ID) -> Path:
    """Where a run has its files on a host."""
    return host.work_dir / "runs" / run_name(state, run_id)


def names(directory: Path) -> list[str]:
    """What is in a directory, if there is one."""
    return sorted(path.name for path in directory.glob("*"))


def assert_nothing_is_left(host: FarHost, states: Sequence[StateLayout]) -> None:
    """No process, run, session or note; only what is kept for later."""
    wait_for(lambda: host.processes() == [])
    assert names(host.work_dir / "runs") == []
    assert names(host.work_dir / "sessions") == []
    for state in states:
        assert list(host_notes(state).all()) == []


def age(path: Path, secs: float = LONG_AGO_SECS) -> None:
    """Let a path look as if it was used last so long ago."""
    when = time.time() - secs
    os.utime(path, (when, when), follow_symlinks=False)
