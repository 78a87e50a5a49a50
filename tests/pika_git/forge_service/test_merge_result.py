"""What git makes of a merge, whatever is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pika_git.forge_service.merge_result import (
    MovedError,
    contains,
    merge_trees,
    move,
    write_commit,
)
from pika_git.git import GitError, Repository
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path


class Pair:
    """A bare repository with `main` and `feature`, each with a commit of its own."""

    def __init__(self, directory: Path) -> None:
        self.tree = UserTree(directory / "work").init()
        self.tree.write("both", "1\n2\n3\n")
        self.tree.commit()
        self.tree.git("clone", "--quiet", "--bare", ".", str(directory / "bare"))
        self.git = Repository(directory / "bare")
        self.tree.git("branch", "feature")

    def commit(self, branch: str, name: str, content: str) -> str:
        self.tree.git("checkout", "--quiet", branch)
        self.tree.write(name, content)
        made = self.tree.commit()
        self.tree.git("push", "--quiet", "--force", str(self.git.path), branch)
        return made


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_clean_merge_is_a_tree_with_both_changes(pair: Pair) -> None:
    onto, head = pair.commit("main", "a", "1"), pair.commit("feature", "ä %\n", "1")
    merged = merge_trees(pair.git, onto, head)
    names = pair.git.out("ls-tree", "-z", "--name-only", merged.tree).split("\0")
    assert merged.conflicts == ()
    assert set(names) == {"a", "ä %\n", "both", ""}


def test_a_conflict_names_its_paths_as_they_are(pair: Pair) -> None:
    onto = pair.commit("main", "ä %\n", "1")
    pair.commit("feature", "both", "1\n2\nx\n")
    head = pair.commit("feature", "ä %\n", "2")
    assert merge_trees(pair.git, onto, head).conflicts == ("ä %\n",)


def test_an_unknown_commit_is_no_conflict(pair: Pair) -> None:
    onto = pair.commit("main", "a", "1")
    with pytest.raises(GitError):
        merge_trees(pair.git, onto, "0" * 39 + "1")


def test_histories_that_share_nothing_are_not_merged(pair: Pair) -> None:
    onto = pair.commit("main", "a", "1")
    pair.tree.git("checkout", "--quiet", "--orphan", "other")
    head = pair.tree.commit()
    pair.tree.git("push", "--quiet", str(pair.git.path), "other")
    with pytest.raises(GitError, match="unrelated histories"):
        merge_trees(pair.git, onto, head)


def test_renames_are_followed_whatever_the_repository_is_set_to(pair: Pair) -> None:
    pair.git.out("config", "merge.renames", "false")
    onto = pair.commit("main", "both", "1\n2\nthree\n")
    pair.tree.git("checkout", "--quiet", "feature")
    pair.tree.git("mv", "both", "elsewhere")
    head = pair.commit("feature", "x", "")
    merged = merge_trees(pair.git, onto, head)
    assert merged.conflicts == ()
    assert pair.git.out("show", f"{merged.tree}:elsewhere") == "1\n2\nthree"


def test_the_default_driver_is_gits_own(pair: Pair) -> None:
    pair.git.out("config", "merge.default", "ours")
    pair.git.out("config", "merge.ours.driver", "true")
    onto, head = pair.commit("main", "both", "a\n"), pair.commit("feature", "both", "b\n")
    assert merge_trees(pair.git, onto, head).conflicts == ("both",)


def made(pair: Pair) -> tuple[str, str, str]:
    onto, head = pair.commit("main", "a", "1"), pair.commit("feature", "b", "1")
    tree = merge_trees(pair.git, onto, head).tree
    return onto, head, write_commit(pair.git, tree, (onto, head), "ann <a>\n", "Merge\n")


def test_a_merge_commit_has_both_parents_and_who_asked_for_it(pair: Pair) -> None:
    onto, head, commit = made(pair)
    shown = pair.git.out("show", "--no-patch", "--format=%P|%an|%ce|%B", commit)
    assert shown.strip() == f"{onto} {head}|ann a|ann-a@forge.invalid|Merge"
    assert contains(pair.git, commit, head)
    assert not contains(pair.git, onto, head)


def test_a_branch_is_moved_once(pair: Pair) -> None:
    onto, head, commit = made(pair)
    move(pair.git, "refs/heads/main", commit, onto, {"refs/heads/feature": head})
    assert pair.git.commit("refs/heads/main") == commit
    with pytest.raises(MovedError, match=r"^refs/heads/main$"):
        move(pair.git, "refs/heads/main", commit, onto, {})


def test_nothing_is_moved_if_the_other_branch_has(pair: Pair) -> None:
    onto, head, commit = made(pair)
    pair.commit("feature", "c", "1")
    with pytest.raises(MovedError, match=r"^refs/heads/feature$"):
        move(pair.git, "refs/heads/main", commit, onto, {"refs/heads/feature": head})
    assert pair.git.commit("refs/heads/main") == onto


def test_another_failure_is_told_as_git_tells_it(pair: Pair) -> None:
    onto, _head, commit = made(pair)
    lock = pair.git.path / "refs/heads/main.lock"
    lock.touch()
    with pytest.raises(GitError, match=r"main\.lock"):
        move(pair.git, "refs/heads/main", commit, onto, {})
