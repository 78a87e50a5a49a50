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

    def push(self, old: str, new: str) -> None:
        path = self.tree.path("ci/hello.nix")
        path.write_text(path.read_text().replace(old, new))
        self.tree.commit(f"Say {new}")
        self.tree.git("push", "--quiet", "--set-upstream", "origin", "greet")


def test_a_newcomer_gets_from_a_push_to_a_green_merge(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with demo(data) as said:
        newcomer = Newcomer(tmp_path, said)
        newcomer.tree.git("checkout", "--quiet", "-b", "greet")
        newcomer.push("cat ", "cart ")
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
        assert code == 0, out
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
