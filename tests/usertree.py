"""A user's directory for tests: files with any name, and a repository if asked for."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class UserTree:
    """A directory to take snapshots of."""

    root: Path

    def git(self, *args: str, **environment: str) -> bytes:
        """What git prints here; variables of its environment are keywords."""
        env = os.environ | IDENTITY | environment
        argv = ["git", "-c", "protocol.file.allow=always", *args]
        done = subprocess.run(argv, cwd=self.root, env=env, check=True, capture_output=True)
        return done.stdout

    def init(self) -> UserTree:
        self.root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        return self

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").decode().strip()

    def path(self, name: str | bytes) -> Path:
        return self.root / os.fsdecode(name)

    def write(self, name: str | bytes, content: str | bytes = "", mode: int = 0o644) -> Path:
        path = self.path(name)
        self.make_room(path)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def link(self, name: str | bytes, target: str) -> Path:
        path = self.path(name)
        self.make_room(path)
        path.symlink_to(target)
        return path

    def make_room(self, path: Path) -> None:
        """Remove whatever is at `path`, and whatever above it is no directory."""
        for above in reversed(path.relative_to(self.root).parents):
            if (self.root / above).is_symlink() or (self.root / above).is_file():
                (self.root / above).unlink()
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)

    def files(self) -> set[bytes]:
        """Names of everything but directories."""
        return {
            os.fsencode(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }


def remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def check_objects(state_root: Path) -> None:
    """Have git check every object of the private repository."""
    argv = ["git", f"--git-dir={state_root / 'git'}", "fsck", "--full"]
    subprocess.run(argv, check=True, capture_output=True)


def tree_entries(state_root: Path, tree: str) -> dict[bytes, tuple[str, bytes]]:
    """What the private repository has for `tree`: name to mode and content."""

    def git(*args: str, stdin: bytes = b"") -> bytes:
        argv = ["git", f"--git-dir={state_root / 'git'}", *args]
        return subprocess.run(argv, input=stdin, check=True, capture_output=True).stdout

    rows = [row.partition(b"\t") for row in git("ls-tree", "-r", "-z", tree).split(b"\0")[:-1]]
    blobs = [meta.split(b" ")[2] for meta, _, _ in rows]
    rest = git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob in blobs))
    found = {}
    for meta, _, name in rows:
        header, _, rest = rest.partition(b"\n")
        size = int(header.split(b" ")[2])
        found[name] = (meta.decode().split(" ")[0], rest[:size])
        rest = rest[size + 1 :]
    return found


async def written(path: Path) -> str:
    """What another process writes to `path`, as soon as it has."""
    async with asyncio.timeout(30):
        while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - it can't set an event
            await asyncio.sleep(0.01)
    return path.read_text()
