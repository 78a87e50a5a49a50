"""Files of the flake that the snapshot has not, and the command that takes them in."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import CatalogError
from jerichoci.snapshot.git import Git
from jerichoci.snapshot.repository import Repository
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.snapshot.snapshot import Snapshot
    from pikaci.location import SourceTree

_IN_TREE = re.compile(r"(?:-source|»)/(?=(.+))")
_END = re.compile(r"[^\w/.+@-]|$")
"""What may end a name in an error; a name may have it too."""


@dataclass(frozen=True)
class FlakeFiles:
    """A flake in a directory, and the snapshot of it that Nix evaluates."""

    tree: SourceTree
    snapshot: Snapshot
    state_root: Path

    async def missing(self, error: str) -> CatalogError | None:
        """Why a file that Nix's error names, or the lanes, are not in the snapshot but on disk."""
        lanes = os.path.relpath(self.tree.lanes_file, self.tree.root)
        for text in [self._name("flake.nix"), *_IN_TREE.findall(error), lanes]:
            for end in reversed([found.start() for found in _END.finditer(text)]):
                if left_out := await self._missing(text[:end]):
                    return left_out
        return None

    async def _missing(self, name: str) -> CatalogError | None:
        """Why a file is not in the snapshot, if it is on disk."""
        # `Path.exists` raises an error for a name that is too long.
        if not os.path.exists(self.tree.root / name) or await self._is_taken(name):  # noqa: PTH110
            return None
        why, command = await self._left_out(name)
        return CatalogError(f"{why}, so it is not in the snapshot", f"run `{command}`")

    async def how_to_lock(self) -> str:
        """The command after which flake.lock is whole, or why it is not in the snapshot."""
        flake, lock = self._name("flake.nix"), self._name("flake.lock")
        if (self.tree.root / lock).exists() and not await self._is_taken(lock):
            why, command = await self._left_out(lock)
            return f"{why}: `{command}`"
        home = self.tree.root / self.tree.flake_dir
        place = _shown(home)
        here = "" if Path.cwd().is_relative_to(home) else f" {place}"
        if not self._in_git():
            is_confusing = any((above / ".git").exists() for above in (home, *home.parents))
            return f"to pin it: `nix flake lock{f' path:{place}' if is_confusing else here}`"
        parts = [f"nix flake lock{here}"]
        if not await self._tracks(flake):
            parts.insert(0, self._git("add", flake))
        if await self._ignores(lock):
            parts.append(self._git("add -f", lock))
        return f"to pin it: `{' && '.join(parts)}`"

    async def _left_out(self, name: str) -> tuple[str, str]:
        """Why a file on disk is not in the snapshot, and the command that takes it in."""
        path, place = self._path(name), self.tree.root / name
        if place.is_dir() and not any(place.iterdir()):
            return f"{path} has no files", f"touch {path}/.gitkeep"
        if not self._in_git():
            return f"only its owner may read {path}", f"chmod +r {path}"
        if await self._ignores(name):
            return f"git ignores {path}", self._git("add -f", name)
        return f"git does not track {path}", self._git("add", name)

    def _name(self, name: str) -> str:
        return os.path.join(self.tree.flake_dir, name)  # noqa: PTH118 - a name, not a path

    def _git(self, command: str, name: str) -> str:
        """A git command for a file, as it is typed here."""
        if Path.cwd().is_relative_to(self.tree.root):
            return f"git {command} {self._path(name)}"
        return f"git -C {_shown(self.tree.root)} {command} {shlex.quote(name)}"

    def _path(self, name: str) -> str:
        return shlex.quote(os.path.relpath(self.tree.root / name))

    async def _is_taken(self, name: str) -> bool:
        git = Repository.at(self.state_root).git
        return (await git.run("cat-file", "-e", f"{self.snapshot.tree}:{name}")).ok

    def _in_git(self) -> bool:
        return self.snapshot.git_dirty is not None

    async def _ignores(self, name: str) -> bool:
        """Whether git ignores a file, or what is in a directory."""
        path = f"{name}/_" if (self.tree.root / name).is_dir() else name
        git = Git(cwd=self.tree.root)
        return (await git.run("check-ignore", "--quiet", "--no-index", "--", path)).ok

    async def _tracks(self, name: str) -> bool:
        git = Git(cwd=self.tree.root, extra={"GIT_LITERAL_PATHSPECS": "1"})
        return (await git.run("ls-files", "--error-unmatch", "--", name)).ok


def _shown(directory: Path) -> str:
    place = os.path.relpath(directory)
    return shlex.quote(place if place.startswith(".") else f"./{place}")
