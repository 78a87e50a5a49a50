"""Which lanes a change selects, asked of `pikaci select`: path filters are its business."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from pika_git.pikaci_process import environment, program

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.git import Repository

DEADLINE_SECS = 60.0
LANES_FILE = "ci/forge-lanes.toml"


class SelectionError(Exception):
    """The lanes of a commit can't be read."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def select_lanes(
    git: Repository, state_root: Path, change: tuple[str, str], lanes_of: str, flake_dir: str
) -> list[dict[str, Any]]:
    """The branch lanes in the lanes file of a commit: which of them the change selects, and why.

    A commit without a lanes file has none.
    """
    where = f"{flake_dir}/{LANES_FILE}".lstrip("/")
    if git.ids(f"{lanes_of}:{where}") == [None]:
        return []
    argv = [
        program(),
        "select",
        "--repository",
        str(git.path),
        "--base",
        change[0],
        "--head",
        change[1],
    ]
    argv += ["--lanes-of", lanes_of, "--flake-dir", flake_dir, "--json"]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment(state_root),
            timeout=DEADLINE_SECS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SelectionError(f"could not ask pikaci for lanes: {error}") from None
    if done.returncode != 0:
        raise _said(done.stderr)
    lanes: list[dict[str, Any]] = json.loads(done.stdout)["lanes"]
    return [lane for lane in lanes if lane["trigger"] == "branch"]


def _said(stderr: str) -> SelectionError:
    lines = stderr.strip().splitlines() or ["pikaci said nothing"]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    said = [line.removeprefix("pikaci: ") for line in lines if not line.startswith("hint: ")]
    return SelectionError(" ".join(said), " ".join(hints) or None)
