from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import UsageError
from pikaci.location import SourceTree, find_source, slug, state_layout
from usertree import UserTree, remove

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a flake at its top and one below."""
    UserTree(tmp_path).init()
    (tmp_path / "flake.nix").touch()
    (tmp_path / "sub/deep").mkdir(parents=True)
    (tmp_path / "sub/flake.nix").touch()
    (tmp_path / "other").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("cwd", "flake_dir"), [(".", ""), ("other", ""), ("sub", "sub"), ("sub/deep", "sub")]
)
def test_the_nearest_flake_above_is_meant(
    tree: Path, monkeypatch: pytest.MonkeyPatch, cwd: str, flake_dir: str
) -> None:
    monkeypatch.chdir(tree / cwd)
    assert find_source(None) == SourceTree(tree, flake_dir)


def test_a_flake_that_is_named_is_not_looked_for_above(tree: Path) -> None:
    assert find_source(str(tree / "sub")) == SourceTree(tree, "sub")
    with pytest.raises(UsageError, match=r"there is no flake\.nix in"):
        find_source(str(tree / "other"))


def test_a_worktree_has_a_file_for_git(tree: Path) -> None:
    (tree / "sub/.git").write_text("gitdir: elsewhere")
    assert find_source(str(tree / "sub")) == SourceTree(tree / "sub")


def test_a_flake_outside_git_is_its_own_tree(tree: Path) -> None:
    remove(tree / ".git")
    assert find_source(str(tree / "sub")) == SourceTree(tree / "sub")


def test_lanes_lie_beside_the_flake(tree: Path) -> None:
    assert SourceTree(tree, "sub").lanes_file == tree / "sub/ci/forge-lanes.toml"


def test_a_state_root_that_is_given_is_taken(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert state_layout("state", "").root == tree / "state"


def test_the_default_state_root_follows_xdg_and_the_path(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    digest = hashlib.sha256(str(tree).encode()).hexdigest()[:8]
    root = state_layout(None, str(tree)).root
    assert str(root) == f"/xdg/pikaci/{tree.name}-{digest}"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(state_layout(None, str(tree)).root).startswith("/home/me/.local/state/pikaci")


def test_a_relative_xdg_directory_is_ignored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(state_layout(None, str(tree)).root).startswith("/home/me/.local/state/pikaci")


def test_a_user_without_a_home_is_told_so(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(UsageError, match="set HOME, or give --state-root"):
        state_layout(None, str(tree))


def test_a_state_root_that_is_not_named_in_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"/st\\xffate is not UTF-8"):
        state_layout("/st\udcffate", "")


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_slug_is_a_plain_name(path: str) -> None:
    name = slug("/" + path.encode("utf-8", "replace").decode())
    assert "/" not in name
    assert name.isascii()
    assert not name.startswith(".")


def test_two_repositories_of_one_name_have_different_slugs() -> None:
    assert slug("/a/repo") != slug("/b/repo")
    assert slug("/a/my repo!").startswith("my-repo--")
