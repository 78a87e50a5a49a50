"""The user's working tree and repository. Nothing of either is written."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine.gather import together
from jerichoci.snapshot.git import (
    GITLINK_MODE,
    NO,
    NO_REPOSITORY,
    Git,
    is_storable,
    printed,
    split_names,
    unreadable,
)

if TYPE_CHECKING:
    from jerichoci.machine.process import Completed
    from jerichoci.snapshot.repository import Repository

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The SHA-1 id of a tree without entries."""
_UNACCEPTED = "git does not accept {} as a repository"
_BARE = "{} is bare, or has its work tree elsewhere"
FEW_FILES = 256
"""Up to here, hashing changed files again is cheaper than git's look at all of them."""


@dataclass(frozen=True)
class WorkTree:
    """A directory to take snapshots of: a git work tree's top, or any directory outside git.

    `git` is the user's own git there, None outside git. `index` is the user's index. `ignoring` has
    the patterns that apply beside those of .gitignore files. `private` is a path below `root`, with
    `/` at its end, that is never part of a snapshot: the state root, if it lies there.
    `tracked_only` is why untracked files are left out, if they are; with `whole`, nothing is.
    `settings` has those of the user's git that are about submodules, in git's order.
    """

    root: Path
    git: Git | None
    index: Path | None
    ignoring: bytes
    private: str | None
    tracked_only: str = ""
    whole: bool = False
    settings: tuple[tuple[str, str], ...] = ()

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


async def find_work_tree(directory: Path, state_root: Path, *, whole: bool = False) -> WorkTree:
    """The work tree that `directory` is in, or `directory` itself outside git or with `whole`."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "give the directory to run in")
    directory = directory.resolve()
    if whole:
        return replace(_outside_git(directory, state_root), whole=True)
    git = Git(cwd=directory)
    found, excludes, settings = await together(
        git.run(
            "rev-parse",
            "--path-format=absolute",
            *("--is-inside-git-dir", "--is-inside-work-tree"),
            "--show-cdup",
            *("--git-path", "info/exclude", "--git-path", "index"),
        ),
        git.run("config", "--type=path", "--get", "core.excludesFile"),
        git.run("config", "-z", "--get-regexp", r"^(status\.showuntrackedfiles$|submodule\.)"),
    )
    git_dir, inside, rest = (*os.fsdecode(found.stdout).split("\n", 2), "", "")[:3]
    is_bare = (git_dir, inside) == ("false", "false")
    if is_bare or NO_REPOSITORY in found.stderr:
        _refuse_own(directory, _BARE if is_bare else _UNACCEPTED)
        _refuse_home(directory)
        return _outside_git(directory, state_root)
    if inside != "true" or not found.ok:
        raise _not_a_work_tree(directory, found)
    up, _, paths = rest.partition("\n")
    exclude, _, index = paths.removesuffix("\n").partition("/info/exclude\n")
    root = Path(os.path.normpath(directory / up))
    if root != directory:
        _refuse_own(directory, _UNACCEPTED)
    private = _below(root, state_root)
    said = [entry.partition("\n")[::2] for entry in split_names(printed("config", settings))]
    untracked = dict(said).get("status.showuntrackedfiles", "")
    ignoring = [
        _patterns(root / (os.fsdecode(printed("config", excludes))[:-1] or _default_excludes())),
        _patterns(Path(f"{exclude}/info/exclude")),
        _pattern_of(private),
    ]
    return WorkTree(
        root=root,
        git=Git(cwd=root),
        index=Path(index),
        ignoring=b"".join(ignoring),
        private=private,
        tracked_only=_tracked_only(root, untracked),
        settings=tuple(said),
    )


def _tracked_only(root: Path, setting: str) -> str:
    """Why untracked files are left out, if they are."""
    if setting.lower() in NO:
        return "git's setting status.showUntrackedFiles = no asks for it"
    # A home has private files; a setting that asks for untracked files takes them in.
    if not setting and _is_home(root):
        return "the repository is a whole home directory"
    return ""


async def read_head(tree: WorkTree) -> Head:
    """The commit and tree the user has checked out."""
    if tree.git is None:
        return Head(None, None)
    answer = await tree.git.out(
        "cat-file", "--batch-check=%(objectname)", stdin=b"HEAD^{commit}\nHEAD^{tree}\n"
    )
    ids = [None if " " in line else line for line in answer.decode().splitlines()]
    return Head(ids[0], ids[1])


async def is_dirty(
    repository: Repository, tree: WorkTree, head: Head, snapshot: str
) -> tuple[bool | None, list[str]]:
    """Whether the snapshot has anything that HEAD hasn't, or the reverse; None outside git.

    What git's conversions (line ends, filters) alone make different is no difference. The names are
    those that differ but that git was told to overlook, sorted.
    """
    if tree.git is None:
        return None, []
    if snapshot == (head.tree or EMPTY_TREE):
        return False, []
    if head.tree is None:
        return True, []
    differing = await _differing(repository, tree.git, head.tree, snapshot)
    overlooked = await _overlooked(
        tree.git, [name for name, entry in differing.items() if entry.status != "A"]
    )
    hidden = {name: entry for name, entry in differing.items() if name in overlooked}
    gone = [name for name, entry in hidden.items() if entry.status == "D"]
    edited = {name: entry.blob for name, entry in hidden.items() if entry.status == "M"}
    if edited and not await _content_differs(tree.git, edited):
        edited = {}
    if gone or edited:
        return True, sorted([*gone, *edited])
    return await _differs(tree, tree.git, differing), []


async def submodules_not_there(tree: WorkTree) -> tuple[list[str], list[str]]:
    """Submodules of the user's index that have an empty directory, sorted; apart, the inactive."""
    if tree.git is None or not is_storable(tree.path(".gitmodules")):
        return [], []
    staged = await tree.git.names("ls-files", "--stage", "-z")
    gitlinks = [entry.partition("\t")[2] for entry in staged if entry.startswith(GITLINK_MODE)]
    absent = sorted(name for name in gitlinks if _is_empty_directory(tree.path(name)))
    if not absent:
        return [], []
    inactive = await _inactive(tree, tree.git)
    return [n for n in absent if n not in inactive], [n for n in absent if n in inactive]


async def _inactive(tree: WorkTree, git: Git) -> set[str]:
    """Paths of submodules that the settings exclude from being checked out."""
    file = await git.found("config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\.")
    stated = dict(entry.partition("\n")[::2] for entry in split_names(file))
    chosen = None
    if patterns := [value for key, value in tree.settings if key == "submodule.active"]:
        chosen = set(await git.names("ls-files", "-z", "--", *patterns))
    settings = stated | dict(tree.settings)
    found = set()
    for key, path in stated.items():
        section, _, name = key.rpartition(".")
        if name != "path":
            continue
        active = settings.get(f"{section}.active")
        is_off = chosen is not None and path not in chosen
        if active is not None:
            is_off = active.lower() in NO
        if is_off or settings.get(f"{section}.update") == "none":
            found.add(path)
    return found


def _is_empty_directory(path: str) -> bool:
    try:
        return not os.listdir(path)  # noqa: PTH208 - names may be any bytes
    except OSError:
        return False


def _outside_git(directory: Path, state_root: Path) -> WorkTree:
    private = _below(directory, state_root)
    return WorkTree(directory, None, None, _pattern_of(private), private)


def _refuse_own(directory: Path, why: str) -> None:
    """Refuse a directory if it has a `.git` that git passed over."""
    if (directory / ".git" / "HEAD").is_file():
        raise UsageError(
            why.format(directory / ".git"),
            "see the output of `git status` in it, or remove that .git",
        )


def _refuse_home(directory: Path) -> None:
    """Refuse a directory outside git that is a home, all of which would go to the Nix store."""
    if directory == Path("/") or _is_home(directory):
        raise UsageError(
            f"all of {directory} would go to the Nix store, which everybody may read",
            "move the flake into a directory of its own, or make it a git repository and `git add`"
            " what belongs to it",
        )


def _is_home(directory: Path) -> bool:
    """Whether it is our home, or that of the user whose it is."""
    homes = [os.environ.get("HOME", "")]
    for uid in {os.getuid(), directory.stat().st_uid}:
        with suppress(KeyError):
            homes.append(pwd.getpwuid(uid).pw_dir)
    return any(os.path.realpath(directory) == os.path.realpath(home) for home in homes if home)


def _not_a_work_tree(directory: Path, found: Completed) -> UsageError:
    if not found.ok:
        return unreadable(directory, found)
    return UsageError(
        f"{directory} is inside a git directory, not in a work tree",
        "run in the directory where the files are checked out",
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


@dataclass(frozen=True)
class _Entry:
    """How a name differs from HEAD: its modes there and here, its blob there, git's letter."""

    old_mode: str
    mode: str
    blob: str
    status: str


async def _differing(
    repository: Repository, git: Git, head_tree: str, snapshot: str
) -> dict[str, _Entry]:
    """The names that differ between HEAD and the snapshot; none where git can't tell."""
    objects = os.fspath(repository.path / "objects").replace("\\", "\\\\").replace('"', '\\"')
    both = Git(cwd=git.cwd, extra={"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{objects}"'})
    done = await both.run("diff-tree", "-r", "--raw", "-z", "--no-renames", head_tree, snapshot)
    fields = split_names(done.stdout) if done.ok else []
    entries = (meta.lstrip(":").split(" ") for meta in fields[::2])
    return {
        name: _Entry(old, new, blob, status)
        for (old, new, blob, _, status), name in zip(entries, fields[1::2], strict=True)
    }


async def _overlooked(git: Git, names: list[str]) -> set[str]:
    """Those of `names`, and perhaps others, that git was told to overlook."""
    if not names:
        return set()
    literal = replace(git, extra={"GIT_LITERAL_PATHSPECS": "1"})
    asked = names if len(names) <= FEW_FILES // 4 else []
    flags = await literal.names("ls-files", "-v", "-z", "--", *asked)
    # `S` is skip-worktree, lower case assume-unchanged.
    return {flag[2:] for flag in flags if flag[0] in "Ss" or flag[0].islower()}


async def _differs(tree: WorkTree, git: Git, differing: dict[str, _Entry]) -> bool:
    """Whether names differ in more than git's settings make of them.

    Modes, submodules and long lists are git's to judge.
    """
    entries = differing.values()
    is_submodule = any(entry.old_mode == GITLINK_MODE for entry in entries)
    if not is_submodule and any(entry.status == "A" for entry in entries):
        return True
    if (
        not is_submodule
        and all(entry.old_mode == entry.mode for entry in entries)
        and 0 < len(differing) <= FEW_FILES
    ):
        return await _content_differs(git, {n: e.blob for n, e in differing.items()})
    status = await git.names("status", "--porcelain", "-z", "--no-renames")
    return any(not tree.is_private(entry[3:]) for entry in status)


async def _content_differs(git: Git, modified: dict[str, str]) -> bool:
    quoted = b"".join(_quoted(os.fsencode(name)) + b"\n" for name in modified)
    done = await git.run("hash-object", "--stdin-paths", stdin=quoted)
    return not done.ok or done.stdout.decode().split() != list(modified.values())


def _quoted(name: bytes) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%b"' % escaped
