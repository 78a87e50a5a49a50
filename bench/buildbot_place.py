"""A Buildbot of the bench's own: a master with SQLite, and one local worker with two slots.

Its two builders run the same command, each for every change. Changes come by its hook.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "4.3"
START_SECS = 60.0
POLL_SECS = 0.005
MASTER = """from buildbot.plugins import changes, schedulers, steps, util, worker

shell = ["sh", "-c", {command!r}]
factory = util.BuildFactory([steps.ShellCommand(command=shell, logEnviron=False)])
BuildmasterConfig = {{
    "workers": [worker.Worker("local", "secret", max_builds=2)],
    "protocols": {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}},
    "builders": [
        util.BuilderConfig(name=name, workernames=["local"], factory=factory)
        for name in {builders!r}
    ],
    "schedulers": [schedulers.AnyBranchScheduler(name="all", builderNames={builders!r})],
    "collapseRequests": False,
    "www": {{"port": "tcp:{port}:interface=127.0.0.1", "change_hook_dialects": {{"base": True}}}},
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "buildbotNetUsageData": None,
    "title": "bench",
    "buildbotURL": "http://127.0.0.1:{port}/",
}}
"""


def programs() -> Path:
    """The directory of Buildbot's programs, installed once into a cache of the bench's own."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pikaci"
    place = cache / f"bench-buildbot-{VERSION}"
    if not (place / "ready").exists():
        print(f"installing Buildbot {VERSION} in {place}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        names = [f"{name}=={VERSION}.*" for name in ("buildbot", "buildbot-worker", "buildbot-www")]
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "-qq", *names], check=True)
        (place / "ready").touch()
    return place / "bin"


class Buildbot:
    """A running Buildbot. `post` is a change, which all its builders build."""

    def __init__(self, directory: Path, port: int, master: int, builders: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.directory = directory
        self.master = master
        self.builders = builders

    def post(self, number: int) -> None:
        """Tell of a change, as a hook does."""
        values = {"author": "bench", "revision": str(number), "comments": "c", "project": "bench"}
        values |= {"repository": "bench", "branch": "main"}
        request = f"{self.url}/change_hook/base"
        urllib.request.urlopen(request, urlencode(values).encode(), timeout=30).read()

    def get(self, what: str) -> Any:  # noqa: ANN401 - JSON
        """A resource of its API."""
        with urllib.request.urlopen(f"{self.url}/api/v2/{what}", timeout=60) as answer:
            return json.load(answer)

    def control(self, what: str, method: str) -> None:
        """Call a method of a resource."""
        body = json.dumps({"jsonrpc": "2.0", "method": method, "id": 1, "params": {}}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/{what}", body, headers)
        urllib.request.urlopen(request, timeout=30).read()

    def hold(self) -> None:
        """Let no build begin."""
        self.control("workers/1", "pause")

    def release(self) -> None:
        """Let builds begin again."""
        self.control("workers/1", "unpause")

    def count(self, *, complete: bool) -> int:
        """The build requests that are over, or the others."""
        query = "SELECT count(*) FROM buildrequests WHERE complete = ?"
        with sqlite3.connect(f"file:{self.directory}/master/state.sqlite?mode=ro", uri=True) as db:
            return int(db.execute(query, [int(complete)]).fetchone()[0])

    def fill(self, count: int) -> None:
        """Put build requests into its database that wait for the worker; none of them begins."""
        self.hold()
        self.post(0)
        while not self.count(complete=False):
            time.sleep(POLL_SECS)
        with sqlite3.connect(self.directory / "master" / "state.sqlite") as db:
            names = [row[1] for row in db.execute("PRAGMA table_info(buildrequests)")]
            kept = ", ".join(name for name in names if name != "id")
            copy = f"INSERT INTO buildrequests ({kept}) SELECT {kept} FROM buildrequests LIMIT 1"  # noqa: S608 - of its schema
            for _ in range(count - 1):
                db.execute(copy)

    def wait(self, complete: int) -> None:
        """Wait until so many build requests are over, and no other is there."""
        while self.count(complete=True) < complete or self.count(complete=False):
            time.sleep(POLL_SECS)


@contextmanager
def buildbot(directory: Path, command: str, builders: int = 1) -> Iterator[Buildbot]:
    """A master and its worker, which build with `command`."""
    bin_directory = programs()
    port, pb = free_port(), free_port()
    env = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}
    names = [f"builder-{number}" for number in range(builders)]

    def run(*argv: str) -> None:
        subprocess.run(argv, cwd=directory, env=env, check=True, stdout=subprocess.DEVNULL)

    with ExitStack() as stack:
        directory.mkdir()
        config = MASTER.format(command=command, pb=pb, port=port, builders=names)
        run("buildbot", "create-master", "--db", "sqlite:///state.sqlite", "master")
        (directory / "master" / "master.cfg").write_text(config)
        run("buildbot-worker", "create-worker", "worker", f"127.0.0.1:{pb}", "local", "secret")
        (directory / "worker" / "info" / "admin").write_text("bench\n")
        (directory / "worker" / "info" / "host").write_text("bench\n")
        started = []
        for program, place in (("buildbot", "master"), ("buildbot-worker", "worker")):
            log = stack.enter_context((directory / f"{place}.log").open("w"))
            argv = [str(bin_directory / program), "start", "--nodaemon", place]
            child = subprocess.Popen(argv, cwd=directory, env=env, stdout=log, stderr=log)
            stack.callback(stop, child)
            started.append(child)
        found = Buildbot(directory, port, started[0].pid, builders)
        _wait_until_connected(found)
        yield found


def _wait_until_connected(found: Buildbot) -> None:
    deadline = time.monotonic() + START_SECS
    while time.monotonic() < deadline:
        try:
            if found.get("workers/1")["workers"][0]["connected_to"]:
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"Buildbot does not start: see {found.directory}")


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a process that was started here."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
