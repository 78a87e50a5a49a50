from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge_pushes import MAIN, Pushes
from privilege import only_root_can

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Pushes:
    forge = Pushes.below(tmp_path)
    forge.commit_file("a")
    forge.push("HEAD:refs/heads/main")
    forge.poll()
    return forge


def test_a_new_branch_a_change_and_a_deletion_are_three_changes(forge: Pushes) -> None:
    one = forge.commit_file("b")
    forge.push("HEAD:refs/heads/x")
    forge.poll()
    two = forge.commit_file("c")
    forge.push("HEAD:refs/heads/x")
    forge.poll()
    forge.push(":refs/heads/x")
    assert forge.poll() == 1
    ref = "refs/heads/x"
    assert forge.events(ref) == [(ref, None, one), (ref, one, two), (ref, two, None)]
    states = forge.rows("SELECT head, state FROM branch WHERE ref = :ref", ref=ref)
    assert [tuple(row) for row in states] == [(None, "deleted")]


def test_what_did_not_change_is_no_change(forge: Pushes) -> None:
    before = forge.events()
    assert forge.poll() == 0
    assert forge.events() == before


def test_to_b_and_back_to_a_is_two_changes(forge: Pushes) -> None:
    a = forge.git("rev-parse", MAIN)
    b = forge.commit_file("b")
    forge.push("HEAD:refs/heads/main")
    forge.poll()
    forge.push(f"{a}:refs/heads/main", force=True)
    forge.poll()
    assert forge.events(MAIN)[1:] == [(MAIN, a, b), (MAIN, b, a)]
    sequences = forge.rows("SELECT sequence FROM ref_event WHERE ref = :ref ORDER BY id", ref=MAIN)
    assert [row.sequence for row in sequences] == [1, 2, 3]


def test_500_branches_of_a_push_are_noted_in_one_transaction(forge: Pushes) -> None:
    forge.push(*(f"HEAD:refs/heads/many/{number}" for number in range(500)))
    assert forge.poll() == 500
    rows = forge.rows("SELECT DISTINCT seen_at FROM ref_event WHERE ref LIKE 'refs/heads/many/%'")
    assert len(rows) == 1
    assert len(forge.events()) == 501


def test_an_annotated_tag_is_noted_with_the_commit_that_it_names(forge: Pushes) -> None:
    forge.tree.git("tag", "-a", "-m", "1", "v1")
    forge.tree.git("tag", "-a", "-m", "2", "of-a-tag", "v1")
    forge.push("v1", "of-a-tag")
    forge.poll()
    head = forge.git("rev-parse", MAIN)
    assert forge.events("refs/tags/v1") == [("refs/tags/v1", None, head)]
    assert forge.events("refs/tags/of-a-tag") == [("refs/tags/of-a-tag", None, head)]
    assert forge.poll() == 0


def test_symbolic_refs_and_the_forges_own_are_no_refs_of_users(forge: Pushes) -> None:
    forge.git("symbolic-ref", "refs/heads/alias", MAIN)
    forge.git("symbolic-ref", "refs/heads/dangling", "refs/heads/none")
    forge.git("update-ref", "refs/pikaci/held/1", MAIN)
    assert forge.poll() == 0


def test_a_tag_of_a_file_is_passed_over(forge: Pushes) -> None:
    blob = forge.git("rev-parse", f"{MAIN}:a")
    forge.git("update-ref", "refs/tags/file", blob)
    assert forge.poll() == 0
    assert forge.repo.problem is None


@pytest.mark.parametrize("content", ["1" * 40 + "\n", "junk\n", ""])
def test_a_damaged_ref_is_said_and_stops_no_other(forge: Pushes, content: str) -> None:
    forge.push("HEAD:refs/heads/x")
    forge.poll()
    head = forge.commit_file("b")
    forge.push("HEAD:refs/tags/next")
    forge.poll()
    (forge.bare / "refs/heads/x").write_text(content)
    forge.git("update-ref", MAIN, head)
    assert forge.poll() == 1
    assert forge.events()[-1][0] == MAIN
    assert "refs/heads/x" in (forge.repo.problem or "")
    # It isn't deleted: nobody did that.
    assert {row.state for row in forge.rows("SELECT state FROM branch")} == {"open"}


def test_a_ref_that_is_not_utf_8_is_said(forge: Pushes) -> None:
    head = forge.git("rev-parse", MAIN)
    forge.git("update-ref", "--stdin", stdin=b"create refs/heads/\xff " + head.encode() + b"\n")
    assert forge.poll() == 0
    assert "refs/heads/\\xff" in (forge.repo.problem or "")


def test_a_repository_that_is_gone_is_said_and_loses_no_branch(forge: Pushes) -> None:
    moved = forge.bare.with_name("moved")
    forge.bare.rename(moved)
    assert forge.poll() == 0
    assert forge.repo.problem == f"there is no directory {forge.bare}"
    moved.rename(forge.bare)
    forge.commit_file("b")
    forge.push("HEAD:refs/heads/main")
    assert forge.poll() == 1
    assert forge.repo.problem is None


def test_a_directory_that_is_no_repository_any_more_is_said(forge: Pushes) -> None:
    shutil.rmtree(forge.bare)
    forge.bare.mkdir()
    assert forge.poll() == 0
    assert "git does not accept" in (forge.repo.problem or "")


def test_the_repository_of_another_user_can_be_read(
    forge: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_root_can("give files to another user")
    forge.push("HEAD:refs/heads/x")
    for path in (forge.bare, *forge.bare.rglob("*")):
        os.chown(path, 4321, 4321)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["git", "for-each-ref"], cwd=forge.bare, check=True, capture_output=True)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert forge.poll() == 1


def _is_ref(name: str) -> bool:
    """Whether git takes a branch of this name, by the rules of `git check-ref-format`."""
    parts = name.split("/")
    return (
        len(name.encode()) <= 200
        and not any(letter in " ~^:?*[\\\x7f" or ord(letter) < 32 for letter in name)
        and ".." not in name
        and "@{" not in name
        and not name.endswith(".")
        and all(part and not part.startswith(".") and not part.endswith(".lock") for part in parts)
    )


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60)
ODD = [
    "-x",
    "--all",
    "%41",
    "100%",
    "@",
    "ü",
    "日本",
    "a'b",
    'a"b',
    "a$(b)",
    "a;b",
    "a|b",
    "é" * 100,
]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.one_of(NAMES.filter(_is_ref), st.sampled_from(ODD)), max_size=4))
def test_any_name_that_git_takes_is_noted_whole(forge: Pushes, names: list[str]) -> None:
    head = forge.git("rev-parse", MAIN)
    # One below the other is no branch beside it.
    refs = {f"refs/heads/n{index}/{name}" for index, name in enumerate(names)}
    lines = "".join(f"create {ref} {head}\n" for ref in refs)
    forge.git("update-ref", "--stdin", stdin=lines.encode())
    forge.poll()
    known = {row.ref for row in forge.rows("SELECT ref FROM branch WHERE head IS NOT NULL")}
    assert known == {*refs, MAIN}
    forge.git("update-ref", "--stdin", stdin=lines.replace("create", "delete").encode())
    assert forge.poll() == len(refs)


def test_a_name_of_250_bytes_is_noted_whole(forge: Pushes) -> None:
    ref = "refs/heads/" + "x" * 239
    forge.git("update-ref", ref, MAIN)
    forge.poll()
    assert forge.events()[-1][0] == ref
