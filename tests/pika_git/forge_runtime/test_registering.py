from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from forge_pushes import Pushes, make_bare
from pika_git.cli import run
from pika_git.forge_runtime import by_hand
from pika_git.forge_runtime.registering import InvalidRepositoryError, register
from pika_git.persistence import repos
from pika_git.persistence.queue import RefusedError

if TYPE_CHECKING:
    from pathlib import Path


def command(*args: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(run, [str(arg) for arg in args])
    assert done.exception is None or isinstance(done.exception, SystemExit), done
    return done.exit_code, done.output


def start(forge: Pushes, ref: str, **wanted: list[str]) -> int:
    with forge.database.read() as connection:
        repo = repos.every(connection)[0]
    wanted_run = by_hand.look(repo, ref, **wanted)
    with forge.database.write() as connection:
        return by_hand.begin(connection, wanted_run, "ann", forge.database.clock(connection))


def test_a_repository_is_registered_with_its_hook_and_listed(tmp_path: Path) -> None:
    bare, data = make_bare(tmp_path / "demo.git"), tmp_path / "forge"
    code, said = command("repo", "add", "--data", data, "demo", bare)
    assert (code, said) == (0, f"repository 1: demo\nhook: {bare}/hooks/post-receive\n")
    code, said = command("repo", "list", "--data", data)
    assert said == f"1\tdemo\t{bare}\trefs/heads/main\tfine\n"
    hidden = ["git", "config", "--get-all", "transfer.hideRefs"]
    assert subprocess.check_output(hidden, cwd=bare) == b"refs/pikaci\n"


def test_the_hook_is_installed_for_a_repository_by_its_name(tmp_path: Path) -> None:
    bare, data = make_bare(tmp_path / "demo.git"), tmp_path / "forge"
    command("repo", "add", "--no-hook", "--data", data, "demo", bare)
    assert not (bare / "hooks/post-receive").exists()
    assert command("hook", "install", "--data", data, "demo")[0] == 0
    assert (bare / "hooks/post-receive").read_text() == command("hook", "print", "--data", data)[1]
    code, said = command("hook", "install", "--data", data, "other")
    assert (code, said.splitlines()[0]) == (1, "Error: no repository is registered as other")


def test_what_a_repository_has_when_it_is_registered_does_not_run(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path)
    other = make_bare(tmp_path / "other.git")
    forge.commit_file("a")
    forge.tree.git("push", "-q", str(other), "HEAD:main", "HEAD:x")
    repo = register(forge.database, "other", other)
    assert len(forge.rows("SELECT 1 FROM branch WHERE repo_id = :repo", repo=repo)) == 2
    assert forge.rows("SELECT 1 FROM ref_event WHERE repo_id = :repo", repo=repo) == []


@pytest.mark.parametrize("name", ["", "-x", "a/b", "../x", "a b", "ü", "x" * 65])
def test_an_odd_name_is_refused(tmp_path: Path, name: str) -> None:
    forge = Pushes.below(tmp_path)
    with pytest.raises(InvalidRepositoryError, match="is not a name of a repository"):
        register(forge.database, name, make_bare(tmp_path / "x.git"))


def test_what_is_no_bare_repository_is_refused(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path)
    for path, says in (
        (tmp_path / "none", "there is no directory"),
        (tmp_path, "git does not accept"),
        (forge.tree.root, "git does not accept"),
        (forge.tree.root / ".git", "is not a bare repository"),
    ):
        with pytest.raises(InvalidRepositoryError, match=says):
            register(forge.database, "x", path)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_path_that_is_too_long_is_refused(tmp_path: Path, name: str) -> None:
    forge = Pushes.below(tmp_path)
    with pytest.raises(InvalidRepositoryError, match="File name too long"):
        register(forge.database, "x", tmp_path / name)


def test_a_repository_is_registered_once(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path)
    (tmp_path / "link").symlink_to(forge.bare)
    with pytest.raises(InvalidRepositoryError, match="is registered already, as demo"):
        register(forge.database, "again", tmp_path / "link")
    with pytest.raises(InvalidRepositoryError, match="a repository demo is registered"):
        register(forge.database, "demo", make_bare(tmp_path / "x.git"))


def test_a_run_by_hand_runs_what_it_is_asked_for(forge: Pushes) -> None:
    forge.with_lanes().plan()
    by_lane = start(forge, "main", lanes=["night"])
    by_target = start(forge, "refs/heads/main", targets=["docs"])
    forge.plan()
    assert forge.lanes(by_lane) == {"night": "queued"}
    assert forge.lanes(by_target) == {"docs": "queued"}
    rows = forge.rows("SELECT class AS klass FROM lane WHERE run_id = :run", run=by_target)
    assert [row.klass for row in rows] == [0]
    run = forge.runs()[-1]
    assert (run.kind, run.created_by, run.superseded_by) == ("manual", "ann", None)


def test_a_run_by_hand_takes_no_plans_of_one_that_was_asked_for_something_else(
    forge: Pushes,
) -> None:
    forge.with_lanes().plan()
    start(forge, "main", targets=["docs"])
    forge.plan()
    all_lanes = start(forge, "main")
    forge.plan()
    assert sorted(forge.lanes(all_lanes)) == ["docs", "unit"]


def test_a_run_by_hand_of_a_lane_that_is_missing_says_so(forge: Pushes) -> None:
    forge.with_lanes().plan()
    start(forge, "main", lanes=["nigth"])
    run = forge.plan()
    assert run.state == "failed"
    assert "has no lane 'nigth'" in run.message


@pytest.mark.parametrize("ref", ["none", "-x", "main^{tree}", "a\nb", "refs/heads/main@{1}"])
def test_a_run_by_hand_needs_a_ref(forge: Pushes, ref: str) -> None:
    forge.with_lanes()
    with pytest.raises(RefusedError, match="has no ref"):
        start(forge, ref)


def test_a_run_by_hand_takes_no_options(forge: Pushes) -> None:
    forge.with_lanes()
    with pytest.raises(RefusedError, match="begins with `-`"):
        start(forge, "main", targets=["--flake=/etc"])
