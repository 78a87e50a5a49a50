"""Record what the cargo on PATH says of `workspace`: `python tests/nix/cargo/record.py`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SAYS = {
    "messages.jsonl": (
        *("test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"),
    ),
    "metadata.json": ("metadata", "--format-version", "1", "--no-deps"),
}


def cargo(tree: str, *arguments: str) -> str:
    """What cargo says, with @tree@ where it says where the workspace is."""
    argv = ["cargo", *arguments]
    done = subprocess.run(argv, cwd=tree, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.replace(tree, "@tree@")


with tempfile.TemporaryDirectory() as tree:
    version = cargo(tree, "--version").split()[1]
    recorded = HERE / "recorded" / version
    recorded.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "workspace", tree, dirs_exist_ok=True)
    for name, arguments in SAYS.items():
        (recorded / name).write_text(cargo(tree, *arguments, "--offline"))
