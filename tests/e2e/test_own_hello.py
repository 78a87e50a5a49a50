"""This repository's own first target, as a new user's checkout has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from e2e.project import REPOSITORY, Project
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path


def test_hello_of_this_repository_runs(bare_project: Project, tmp_path: Path) -> None:
    copy = UserTree(tmp_path / "checkout").init()
    for name in checked_out():
        if (REPOSITORY / name).is_file():
            (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy.root / name)
    project = replace(bare_project, tree=copy)
    done = project.here("run", "hello").passed()
    assert "passed in" in done.err
    assert "Hello from a derivation" in project.log("greet")
    targets = project.here("targets").passed().out
    assert "hello" in targets
    project.here("lanes").passed()


def checked_out() -> list[str]:
    """Files of this tree; it may be no repository, as where a snapshot of it is tested."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (REPOSITORY / ".git").exists():
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, check=True, timeout=60)
        return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [
        str(path.relative_to(REPOSITORY))
        for top in ("flake.nix", "flake.lock", "nix", "ci")
        for path in [REPOSITORY / top, *(REPOSITORY / top).rglob("*")]
    ]
