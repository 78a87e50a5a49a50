"""The user's working tree, and what their repository says of it. Nothing of theirs is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.git import GITLINK_MODE, Git, is_storable, split_names
from jerichoci.together import together

if TYPE_CHECKING:
    from jerichoci.process import Completed
    from jerichoci.repository import Repository

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The SHA-1 id of a tree without entries."""
FEW_FILES = 256
"""Up to here, hashing changed files again is cheaper than git's look at all of them."""


@dataclass(frozen=True)
class WorkTree:
    """A directory to take snapshots of: a git work tree's top, or any directory outside git.

    `git` is the user's own git there, None outside git. `index` is the user's index. `ignoring` has
    the patterns that apply beside those of .gitignore files. `private` is a path below `root`, with
    `/` at its end, that is never part of a snapshot: the state root, if it lies there.
    """

    root: Path
    git: Git | None
    index: Path | None
    ignoring: bytes
    private: str | None

    def path(self, name: str) -> str:
        """The path of what is called `name` (relative, as git prints it) in the tree."""
        return os.path.join(self.root, name)  # noqa: PTH118 - 50,000 Paths would be felt

    def is_private(self, name: str) -> bool:
        """Whether `name` is never part of a snapshot."""
        return self.private is not None and f"{name}/".startswith(self.private)


@dataclass(frozen=True)
class Head:
    """The user's HEAD: its commit and tree, both None before the first commit."""

    commit: str | None
    tree: str | None


async def find_work_tree(directory: Path, state_root: Path) -> WorkTree:
    """The work tree that `directory` is in, or `directory` itself outside git.

    Raises:
        UsageError: there is no such directory, or git doesn't accept it as a work tree.
        InfrastructureError: there is no git.
    """
    directory = _resolved(directory)
    git = Git(cwd=directory)
    found, excludes = await together(
        git.run(
            "rev-parse",
            "--path-format=absolute",
            "--is-inside-work-tree",
            "--show-cdup",
            *("--git-path", "info/exclude", "--git-path", "index"),
        ),
        git.run("config", "--type=path", "--get", "core.excludesFile"),
    )
    if b"not a git repository (or any" in found.stderr:
        return _outside_git(directory, state_root)
    inside, _, rest = os.fsdecode(found.stdout).partition("\n")
    if inside == "false" or not found.ok:
        raise _not_a_work_tree(directory, found)
    up, _, paths = rest.partition("\n")
    exclude, _, index = paths.removesuffix("\n").partition("/info/exclude\n")
    root = _above(directory, up)
    private = _below(root, state_root)
    ignoring = [
        _patterns(root / (os.fsdecode(excludes.stdout)[:-1] or _default_excludes())),
        _patterns(Path(f"{exclude}/info/exclude")),
        _pattern_of(private),
    ]
    return WorkTree(root, Git(cwd=root), Path(index), b"".join(ignoring), private)


async def read_head(tree: WorkTree) -> Head:
    """The commit and tree the user has checked out.

    Raises:
        InfrastructureError: git failed.
    """
    if tree.git is None:
        return Head(None, None)
    answer = await tree.git.out(
        "cat-file", "--batch-check=%(objectname)", stdin=b"HEAD^{commit}\nHEAD^{tree}\n"
    )
    ids = [None if " " in line else line for line in answer.decode().splitlines()]
    return Head(ids[0], ids[1])


async def is_dirty(
    repository: Repository, tree: WorkTree, head: Head, snapshot: str
) -> bool | None:
    """Whether the snapshot has anything that HEAD hasn't, or the reverse; None outside git.

    What git's conversions (line ends, filters) alone make different is no difference.

    Raises:
        InfrastructureError: git failed.
    """
    if tree.git is None:
        return None
    if snapshot == (head.tree or EMPTY_TREE):
        return False
    if head.tree is None:
        return True
    modified = await _modified_only(repository, tree.git, head.tree, snapshot)
    if modified is None:
        return True
    if 0 < len(modified) <= FEW_FILES:
        return await _content_differs(tree.git, modified)
    return await _status_differs(tree)


async def uninitialised_submodules(tree: WorkTree) -> list[str]:
    """Submodules of the user's index that have an empty directory, sorted.

    Raises:
        InfrastructureError: git failed.
    """
    if tree.git is None or not is_storable(tree.path(".gitmodules")):
        return []
    staged = await tree.git.names("ls-files", "--stage", "-z")
    gitlinks = [entry.partition("\t")[2] for entry in staged if entry.startswith(GITLINK_MODE)]
    return sorted(name for name in gitlinks if _is_empty_directory(tree.path(name)))


def _resolved(directory: Path) -> Path:
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "give the directory to run in")
    return directory.resolve()


def _above(directory: Path, up: str) -> Path:
    return Path(os.path.normpath(directory / up))


def _is_empty_directory(path: str) -> bool:
    try:
        return not os.listdir(path)  # noqa: PTH208 - names may be any bytes
    except OSError:
        return False


def _outside_git(directory: Path, state_root: Path) -> WorkTree:
    private = _below(directory, state_root)
    return WorkTree(directory, None, None, _pattern_of(private), private)


def _not_a_work_tree(directory: Path, found: Completed) -> UsageError:
    if found.ok:
        return UsageError(
            f"{directory} is inside a git directory, not in a work tree",
            "run in the directory where the files are checked out",
        )
    return UsageError(
        f"git can't read the repository of {directory}: {found.last_line()}",
        "see whether `git status` works there",
    )


def _below(root: Path, state_root: Path) -> str | None:
    try:
        return f"{state_root.resolve().relative_to(root)}/"
    except ValueError:
        return None


def _default_excludes() -> str:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return f"{config}/git/ignore"


def _patterns(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf") + b"\n"
    except OSError:
        return b""


def _pattern_of(private: str | None) -> bytes:
    """An ignore pattern for one directory; a newline, which none can have, matches as `?`."""
    if private is None:
        return b""
    escaped = "".join(f"\\{c}" if c in "\\*?[ " else "?" if c == "\n" else c for c in private)
    return os.fsencode(f"/{escaped}\n")


async def _modified_only(
    repository: Repository, git: Git, head_tree: str, snapshot: str
) -> dict[str, str] | None:
    """Names that differ in content at most, with their blob in HEAD; None if one was added.

    Empty if git must look itself: modes, submodules and sparse checkouts depend on its settings.
    """
    objects = os.fspath(repository.path / "objects").replace("\\", "\\\\").replace('"', '\\"')
    both = Git(cwd=git.cwd, extra={"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{objects}"'})
    done = await both.run("diff-tree", "-r", "--raw", "-z", "--no-renames", head_tree, snapshot)
    if not done.ok:
        return {}
    fields = split_names(done.stdout)
    entries = [meta.lstrip(":").split(" ") for meta in fields[::2]]
    if any(old == GITLINK_MODE for old, *_ in entries):
        return {}
    if any(status == "A" for *_, status in entries):
        return None
    if any(old != new for old, new, *_ in entries):
        return {}
    return {name: entry[2] for entry, name in zip(entries, fields[1::2], strict=True)}


async def _content_differs(git: Git, modified: dict[str, str]) -> bool:
    quoted = b"".join(_quoted(os.fsencode(name)) + b"\n" for name in modified)
    done = await git.run("hash-object", "--stdin-paths", stdin=quoted)
    return not done.ok or done.stdout.decode().split() != list(modified.values())


def _quoted(name: bytes) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%b"' % escaped


async def _status_differs(tree: WorkTree) -> bool:
    if tree.git is None:
        return False
    status = await tree.git.names("status", "--porcelain", "-z", "--no-renames")
    return any(not tree.is_private(entry[3:]) for entry in status)
