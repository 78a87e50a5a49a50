"""What a newcomer does with `make forge`: push, a red lane, its reason, a fix, a green merge."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.project import processes
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator

ORCHESTRATOR = Path(__file__).resolve().parents[2] / "orchestrator"
DEADLINE_SECS = 120.0


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PH_", "PIKA", "XDG_"))}
    own = {"HOME": str(home), "PYTHONPATH": str(ORCHESTRATOR)}
    return {**kept, **IDENTITY, **own, **more}


@contextmanager
def demo(data: Path) -> Iterator[dict[str, str]]:
    """A demo in its directory: what it says, by the first word of each line."""
    argv = [sys.executable, "-m", "pika_git", "demo", "--data", str(data)]
    with (data.parent / "said").open("w") as said:
        process = subprocess.Popen(
            argv,
            env=environment(data.parent),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], DEADLINE_SECS)[0]
        lines = [process.stdout.readline().split() for _ in range(3)]
        assert all(lines), (data.parent / "said").read_text()
        yield dict(lines)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECS) == 0
        process.stdout.close() if process.stdout else None
    assert processes(str(data)) == [], "the service and the worker ended, too"


class Newcomer:
    """A clone, and `ph` run in it with what the demo printed."""

    def __init__(self, directory: Path, said: dict[str, str]) -> None:
        self.tree = UserTree(directory / "clone")
        if not self.tree.root.exists():
            subprocess.run(["git", "clone", "-q", said["repository"], self.tree.root], check=True)
        self.env = environment(directory, PH_URL=said["url"], PH_TOKEN=said["token"])

    def ph(self, *args: str) -> tuple[int, str]:
        done: Any = subprocess.run(
            [sys.executable, "-m", "ph", *args],
            cwd=self.tree.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECS,
            check=False,
        )
        return done.returncode, done.stdout

    def push(self, old: str, new: str, file: str = "ci/hello.nix", branch: str = "greet") -> None:
        """Replace a word in a file of a branch, and push it."""
        known = self.tree.git("branch", "--list", branch)
        self.tree.git("checkout", "--quiet", *([] if known else ["-b"]), branch)
        path = self.tree.path(file)
        path.write_text(path.read_text().replace(old, new))
        self.tree.commit(f"Say {new}")
        self.tree.git("push", "--quiet", "--set-upstream", "origin", branch)


def test_a_newcomer_gets_from_a_push_to_a_green_merge(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with demo(data) as said:
        newcomer = Newcomer(tmp_path, said)
        newcomer.push("cat ", "cart -n ")
        code, out = newcomer.ph("wait")
        assert (code, out) == (1, "run 1 (branch): failed - Hello failed\n")
        _, out = newcomer.ph("explain", "hello")
        assert "test_failure: " in out
        _, out = newcomer.ph("logs", "hello")
        assert "cart: command not found" in out
        code, out = newcomer.ph("merge")
        assert code == 1
        assert out.startswith("ph: lane hello failed (test_failure) in run 1\n")
        newcomer.push("cart ", "cat ")
        code, out = newcomer.ph("watch")
        assert (code, out.splitlines()[-1]) == (0, "run 2 (branch): success - 1 passed")
        code, out = newcomer.ph("merge")
        assert code == 0, out
        assert out.startswith("merged into main: ")
        assert newcomer.ph("wait", "main")[0] == 0
    with demo(data) as again:
        assert again == said, "started again, it is the same forge"
        newcomer = Newcomer(tmp_path, again)
        assert newcomer.ph("status")[1].startswith("greet of demo: merged")
        code, out = newcomer.ph("run", "greet", "--lane", "hello")
        assert code == 0, out
        assert newcomer.ph("wait", "--run", "4")[0] == 0


def test_a_merge_tests_its_result_first_where_the_target_has_moved(tmp_path: Path) -> None:
    with demo(tmp_path / "data") as said:
        newcomer = Newcomer(tmp_path, said)
        newcomer.push("cat ", "cat -v ")
        newcomer.push("targets of", "targets in", file="ci/default.nix", branch="main")
        assert newcomer.ph("wait", "main")[0] == 0
        assert newcomer.ph("wait", "greet")[0] == 0
        code, out = newcomer.ph("merge", "greet", "--wait", "--why", "it is good")
        assert code == 0, out
        first, last = out.splitlines()
        assert first == "runs hello on the merge result; it is merged when run 3 is green"
        assert last.startswith("merged: ")
        code, out = newcomer.ph("status", "--run", "3")
        assert "run 3 (merge): success" in out
        newcomer.tree.git("fetch", "--quiet")
        shown = newcomer.tree.git("show", "--no-patch", "--format=%an|%B", "origin/main").decode()
        assert shown.strip() == "demo|Merge branch 'greet'\n\nit is good"


SHOWS = {
    "whoami": "demo, role admin",
    "repo list": "demo  main     fine",
    "queue": "demo    active  0 of 2",
    "health": "every target and host is open",
    "nightly": "no slot was due yet",
    "admin tokens": "admin",
    "admin audit": "pause  queue",
    "status main": "no run yet",
}
ACTS = {
    "run main --target hello": "run 1",
    "cancel --run 1 --why w": "run 1 cancelled",
    "drain demo --why w": "worker demo claims no more lanes",
    "resume demo": "worker demo claims lanes again",
    "queue resume": "the queue is no longer paused",
    "run main --lane hello": "run 2",
    "wait --run 2": "run 2 (manual): success",
    "explain hello --branch main": "it runs because: asked for by name",
    "logs hello --branch main -f": "Hello from a derivation",
    "rerun hello --branch main": "run 3",
    "wait --run 3": "success",
    "wake hello --branch main": "looked at",
    "nightly run": "run 4",
    "wait --run 4": "run 4 (nightly): skipped",
    "admin token other --role read": "ph_",
    "admin revoke 2": "token 2 is revoked",
    "close main --why w": "branch 1 is closed",
}


def test_ph_and_the_service_understand_each_other(tmp_path: Path) -> None:
    with demo(tmp_path / "data") as said:
        newcomer = Newcomer(tmp_path, said)
        assert newcomer.ph("queue", "pause", "--why", "a test") == (
            0,
            "the queue is paused: what runs continues, nothing begins\n",
        )
        for command, shown in {**SHOWS, **ACTS}.items():
            args = command.split()
            code, out = newcomer.ph(*args)
            assert (code, "None" in out) == (0, False), (command, out)
            assert shown in out, command
        for command in SHOWS:
            assert newcomer.ph(*command.split(), "--json")[0] == 0


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "data").mkdir()
        (tmp_path / "data/settings.toml").write_text(f'listen = "127.0.0.1:{port}"\n')
        with demo(tmp_path / "data") as said:
            assert said["url"] != f"http://127.0.0.1:{port}"
            assert Newcomer(tmp_path, said).ph("whoami")[0] == 0
