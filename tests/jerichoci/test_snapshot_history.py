"""What a snapshot has depends on the work tree alone, not on the snapshots before it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.snapshot.materialise import materialise
from jerichoci.snapshot.snapshot import take_snapshot
from usertree import UserTree, remove

Edit = tuple[str, bytes | None, object]

PARTS = [b"a", b"b.o", b"c d", b"n\nl", b"\xff\xfe", b"-x", b"k.keep"]
NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"1\n", b"2\n", b"\r\n\xff\x00"])
RULES = st.lists(
    st.sampled_from(
        ["*.o", "a", "a/", "!*.keep", "/b.o", "c d/", "*", "!*/", ".gitignore", "**/a"]
    ),
    max_size=3,
).map("\n".join)
NESTED_NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=2).map(b"/".join)

EDITS = st.one_of(
    st.tuples(st.just("write"), NAMES, CONTENTS),
    st.tuples(st.just("chmod"), NAMES, st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("link"), NAMES, st.sampled_from(["a", "..", "no/where"])),
    st.tuples(st.just("remove"), NAMES, st.none()),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("ignore"), st.sampled_from([b"", b"a/", b"c d/"]), RULES),
    st.tuples(st.just("track"), NAMES, st.none()),
    st.tuples(st.just("untrack"), NAMES, st.none()),
    st.tuples(st.just("commit"), st.none(), st.none()),
)
TICK_SECS = 0.02
"""Longer than the clock that stamps files takes to go on."""
NESTING = st.tuples(st.sampled_from(["nest", "unnest"]), NESTED_NAMES, st.none())
PRIVACY = st.tuples(st.sampled_from(["chmod", "close"]), NAMES, st.sampled_from([0o700, 0o755]))
OVERLOOKING = st.tuples(st.just("overlook"), st.none(), st.sampled_from(["no", "normal"]))


@dataclass(frozen=True)
class Editor:
    """What users do to a tree, each edit by its name."""

    user: UserTree

    def write(self, name: bytes, content: bytes) -> None:
        self.user.write(name, content)

    def chmod(self, name: bytes, mode: int) -> None:
        path = self.user.path(name)
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)

    def close(self, name: bytes, mode: int) -> None:
        path = self.user.path(name)
        if path.is_dir() and not path.is_symlink():
            path.chmod(mode)

    def overlook(self, _: None, value: str) -> None:
        self.user.git("config", "status.showUntrackedFiles", value)

    def link(self, name: bytes, target: str) -> None:
        self.user.link(name, target)

    def remove(self, name: bytes, _: None) -> None:
        remove(self.user.path(name))

    def rename(self, name: bytes, new: bytes) -> None:
        path, target = self.user.path(name), self.user.path(new)
        if path.exists() and not f"{target}/".startswith(f"{path}/"):
            self.user.make_room(target)
            with suppress(OSError):  # below itself, by way of a link
                path.rename(target)

    def ignore(self, where: bytes, rules: str) -> None:
        self.user.write(where + b".gitignore", rules)

    def track(self, name: bytes, _: None) -> None:
        path = self.user.path(name)
        if path.is_symlink() or path.is_file():
            literal = ("--literal-pathspecs", "add", "--force")
            with suppress(CalledProcessError):  # git adds nothing of a repository inside
                self.user.git(*literal, "--", os.fsdecode(name))

    def untrack(self, name: bytes, _: None) -> None:
        literal = ("--literal-pathspecs", "rm", "-r", "--cached", "--force", "--quiet")
        self.user.git(*literal, "--ignore-unmatch", "--", os.fsdecode(name))

    def commit(self, _name: None, _: None) -> None:
        with suppress(CalledProcessError):  # nor one without a commit
            self.user.commit()

    def nest(self, name: bytes, _: None) -> None:
        path = self.user.path(name)
        if path.is_dir() and not path.is_symlink():
            UserTree(path).init()

    def unnest(self, name: bytes, _: None) -> None:
        remove(self.user.path(name) / ".git")


def tree_by_git_alone(user: UserTree, work: Path) -> str:
    """The tree that `git add` makes of a copy of the user's index."""
    index = work / "index"
    index.unlink(missing_ok=True)
    if user.path(".git/index").exists():
        index.write_bytes(user.path(".git/index").read_bytes())
    environment = {
        "GIT_INDEX_FILE": str(index),
        "GIT_OBJECT_DIRECTORY": str(work / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(user.path(".git/objects")),
    }
    (work / "objects").mkdir(exist_ok=True)
    user.git("add", "--all", **environment)
    return user.git("write-tree", **environment).decode().strip()


def tree_of_directory(directory: Path, work: Path) -> str:
    """The tree that git makes of everything in `directory`."""
    git = UserTree(directory)
    environment = {"GIT_DIR": str(work / "rehash"), "GIT_WORK_TREE": str(directory)}
    if not (work / "rehash").exists():
        git.git("init", "--quiet", **environment)
    git.git("add", "--all", "--force", **environment)
    return git.git("write-tree", **environment).decode().strip()


def files(directory: Path) -> dict[bytes, tuple[int, bytes]]:
    """Names of files, with mode and content."""
    found = {}
    for name in UserTree(directory).files():
        path = directory / os.fsdecode(name)
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[name] = (path.lstat().st_mode, content)
    return found


async def snapshots_agree(work: Path, edits: list[list[Edit]], *, git_knows: bool) -> None:
    user = UserTree(work / "user").init()
    kept = work / "kept"
    for number, batch in enumerate(edits):
        for kind, name, value in batch:
            getattr(Editor(user), kind)(name, value)
        await asyncio.sleep(TICK_SECS)
        long_lived = await take_snapshot(kept, user.root)
        fresh = await take_snapshot(work / f"fresh-{number}", user.root)
        assert long_lived.tree == fresh.tree
        if git_knows:
            assert long_lived.tree == tree_by_git_alone(user, work)
        again = await take_snapshot(kept, user.root)
        assert again == replace(long_lived, created=False)
        linked = await materialise(kept, long_lived.tree)
        written = await materialise(work / f"fresh-{number}", fresh.tree)
        assert tree_of_directory(linked, work) == long_lived.tree
        assert files(written) == files(linked)


def check(edits: list[list[Edit]], *, git_knows: bool) -> None:
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", made)
        patch.setenv("XDG_CONFIG_HOME", made)
        asyncio.run(snapshots_agree(Path(made), edits, git_knows=git_knows))


def histories(edits: st.SearchStrategy[Edit]) -> st.SearchStrategy[list[list[Edit]]]:
    return st.lists(st.lists(edits, min_size=1, max_size=8), min_size=1, max_size=4)


@settings(max_examples=16, deadline=None)
@given(histories(EDITS))
def test_a_long_lived_state_root_a_fresh_one_and_git_agree(edits: list[list[Edit]]) -> None:
    check(edits, git_knows=True)


@settings(max_examples=12, deadline=None)
@given(histories(EDITS | NESTING | PRIVACY | OVERLOOKING))
def test_repositories_inside_and_what_is_left_out_follow_from_the_tree_as_it_is(
    edits: list[list[Edit]],
) -> None:
    check(edits, git_knows=False)
