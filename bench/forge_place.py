"""A forge of the bench's own: service, one worker with two slots, and a repository to push to.

Its lanes run one command each. Pushes are told by an HTTP post, as from a hook.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildbot_place import POLL_SECS, stop
from paired import PIKACI, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PIKA_GIT = str(Path(sys.executable).with_name("pika-git"))
START_SECS = 60.0
REPOSITORY = "bench"
ENDED = "('success', 'failed', 'skipped', 'cancelled')"
FLAKE = """{
  outputs = _: {
    pikaci = (import ./nix/lib).mkCatalog {
      systems = [ "x86_64-linux" "aarch64-linux" ];
      lanes = ./ci/forge-lanes.toml;
      targets = _: {
        command = { trigger = "branch"; jobs.job = { command = @command; timeoutSecs = 600; }; };
      };
    };
  };
}
"""
LANE = '[[branch.lanes]]\nid = "lane-{}"\ntitle = "lane"\ntarget = "command"\n'


class Forge:
    """A running forge with one repository."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.tree = directory / "tree"
        self.bare = directory / "bench.git"
        self.url = self.token = ""
        self.service = self.worker = 0

    def git(self, *argv: str) -> str:
        """Run git in the work tree."""
        named = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        done = subprocess.run(
            ["git", *named, *argv], cwd=self.tree, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def push(self, number: int) -> str:
        """Commit and push a change; its head. Nobody is told of it."""
        (self.tree / "README").write_text(f"change {number}\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", f"change {number}")
        self.git("push", "--quiet", "--force", str(self.bare), "HEAD:refs/heads/main")
        return self.git("rev-parse", "HEAD")

    def post(self) -> None:
        """Tell of a push, as a hook does."""
        self.call("POST", f"hooks/push/{REPOSITORY}", {})

    def call(self, method: str, what: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """A request to its API."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}/api/v1/{what}"
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def hold(self) -> None:
        """Let no lane begin."""
        self.call("POST", "queue/pause", {"why": "bench"})

    def release(self) -> None:
        """Let lanes begin again."""
        self.call("POST", "queue/resume", {"why": "bench"})

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Read its database."""
        with sqlite3.connect(f"file:{self.data / 'forge.db'}?mode=ro", uri=True) as database:
            return database.execute(query).fetchall()

    def count(self, *, complete: bool) -> int:
        """The lanes that have ended, or the others."""
        found = self.ask(f"SELECT count(*) FROM lane WHERE (state IN {ENDED}) = {complete:d}")  # noqa: S608 - of ours
        return int(found[0][0])

    def wait(self, complete: int) -> None:
        """Wait until so many lanes have ended, and no other is there."""
        while self.count(complete=True) < complete or self.count(complete=False):
            time.sleep(POLL_SECS)

    def bare_run(self, head: str) -> subprocess.Popen[bytes]:
        """`pikaci run` of the same target and commit by hand, with a state root of its own."""
        env = {**os.environ, "PIKACI_STATE_ROOT": str(self.directory / "by-hand")}
        argv = [PIKACI, "run", "command", "--source", f"git+file://{self.bare}?rev={head}"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(argv, env=env, stdin=quiet, stdout=quiet, stderr=quiet)


@contextmanager
def forge(directory: Path, command: str, lanes: int = 1, *, works: bool = True) -> Iterator[Forge]:
    """A forge whose lanes run `command`; one that doesn't work has no worker."""
    found = Forge(directory)
    found.tree.mkdir(parents=True)
    shutil.copytree(ROOT / "nix" / "lib", found.tree / "nix" / "lib")
    (found.tree / "flake.nix").write_text(FLAKE.replace("@command", json.dumps(command)))
    (found.tree / "ci").mkdir()
    rows = "\n".join(LANE.format(number) for number in range(lanes))
    (found.tree / "ci" / "forge-lanes.toml").write_text(f"version = 1\n\n{rows}")
    found.git("init", "--quiet", "--initial-branch", "main")
    found.git("init", "--quiet", "--bare", "--initial-branch", "main", str(found.bare))
    found.push(0)
    env = {**os.environ, "PIKA_GIT_DATA": str(found.data)}

    def run(*argv: str) -> str:
        done = subprocess.run(
            [PIKA_GIT, *argv], env=env, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    with ExitStack() as stack:

        def start(name: str, *argv: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((directory / f"{name}.log").open("wb"))
            child = subprocess.Popen([PIKA_GIT, *argv], env=env, stdout=log, stderr=log)
            stack.callback(stop, child)
            return child

        found.token = run("token", "bench", "--role", "admin")
        run("repo", "add", REPOSITORY, str(found.bare), "--no-hook")
        found.service = start("serve", "serve", "--listen", "127.0.0.1:0").pid
        found.url = _first_line(directory / "serve.log")
        if works:
            found.worker = start("worker", "worker", "--name", "local", "--slots", "2").pid
        yield found


def _first_line(path: Path) -> str:
    deadline = time.monotonic() + START_SECS
    while time.monotonic() < deadline:
        line, end, _ = path.read_text().partition("\n")
        if end and line.startswith("http"):
            return line
        time.sleep(0.05)
    raise SystemExit(f"the forge does not start: see {path}")
