"""`pikaci hook`: what real pushes of real git run, and what stops them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from e2e.project import DEADLINE_SECS, Done, Project
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = """
  code.trigger = "branch";
  docs.trigger = "branch";
  code.jobs.it.command = "test ! -e src/wrong && test -z \\"$GIT_DIR\\"";
  docs.jobs.it.command = "test ! -e docs/wrong";
"""
LANES = """
[[branch.lanes]]
id = "code"
target = "code"
paths = ["src/**"]

[[branch.lanes]]
id = "docs"
target = "docs"
paths = ["docs/**"]
"""


@dataclass(frozen=True)
class Pushing:
    """A clone with a remote, and the program `pikaci` on PATH."""

    project: Project

    def git(self, *args: str, cwd: Path | None = None, **more: str) -> Done:
        done = subprocess.run(
            ["git", *args],
            cwd=cwd or self.project.root,
            env=self.project.env() | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECS,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def commit(self, *names: str) -> None:
        for name in names:
            self.project.write(name, "x\n")
        self.project.tree.commit()

    def ran(self) -> list[tuple[str, str]]:
        """Targets and ends of all runs."""
        records = [self.project.record(run_id) for run_id in self.project.run_ids()]
        return sorted((record["target_id"], record["status"]) for record in records)

    def there(self, name: str) -> str:
        """The commit of a branch of the remote; empty if it has none."""
        return self.git("ls-remote", "origin", f"refs/heads/{name}").out[:40]


@pytest.fixture
def pushing(tmp_path: Path) -> Pushing:
    project = Project.below(tmp_path)
    project.define(TARGETS)
    project.lanes(LANES)
    project.tree.init()
    project.tree.commit()
    pikaci = f'exec {sys.executable} -m pikaci "$@"'
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pikaci").write_text(f"#!/bin/sh\n{pikaci}\n")
    (tmp_path / "bin/pikaci").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{project.env()['PATH']}"
    pushing = Pushing(project.with_env(PATH=path))
    pushing.git("init", "--quiet", "--bare", str(tmp_path / "remote")).passed()
    pushing.git("remote", "add", "origin", str(tmp_path / "remote")).passed()
    pushing.git("push", "--quiet", "origin", "main").passed()
    done = pushing.project.here("hook", "install").passed()
    assert f"installed {project.root}/.git/hooks/pre-push" in done.err
    return pushing


def test_a_push_runs_what_it_changes_at_the_commit_that_is_pushed(pushing: Pushing) -> None:
    pushing.commit("src/a")
    pushing.project.write("src/wrong")
    done = pushing.git("push", "origin", "main").passed()
    assert pushing.ran() == [("code", "passed")]
    assert "src/a matches src/**" in done.err
    pushing.git("push", "origin", "main").passed()
    assert len(pushing.ran()) == 1

    head = pushing.there("main")
    pushing.commit("docs/b")
    done = pushing.git("push", "origin", "main")
    assert done.code != 0
    assert "nothing is pushed; `git push --no-verify` pushes all the same" in done.err
    ends = [("code", "failed"), ("code", "passed"), ("docs", "passed")]
    assert pushing.ran() == ends
    assert pushing.there("main") == head
    pushing.git("push", "--no-verify", "origin", "main").passed()
    assert pushing.ran() == ends


def test_of_a_new_branch_what_the_remote_lacks_has_changed(pushing: Pushing) -> None:
    pushing.git("checkout", "--quiet", "-b", "topic").passed()
    pushing.commit("docs/a")
    pushing.git("push", "origin", "topic").passed()
    assert pushing.ran() == [("docs", "passed")]
    pushing.git("push", "origin", "topic:copy", "topic:second").passed()
    assert len(pushing.ran()) == 1
    pushing.commit("src/a")
    pushing.git("push", "--force", "origin", "topic", "topic:copy", "topic:third").passed()
    assert pushing.ran() == [("code", "passed"), ("docs", "passed")]
    pushing.git("push", "origin", "--delete", "copy").passed()
    pushing.git("tag", "v1").passed()
    pushing.git("push", "origin", "v1").passed()
    assert len(pushing.ran()) == 2


def test_a_first_push_runs_all_lanes_and_a_branch_without_lanes_nothing(
    pushing: Pushing, tmp_path: Path
) -> None:
    pushing.git("init", "--quiet", "--bare", str(tmp_path / "empty")).passed()
    pushing.git("push", str(tmp_path / "empty"), "main").passed()
    assert pushing.ran() == []  # another remote has all of it
    pushing.git("remote", "add", "empty", str(tmp_path / "empty")).passed()
    pushing.git("push", "empty", "main:other").passed()
    assert pushing.ran() == [("code", "passed"), ("docs", "passed")]
    pushing.git("checkout", "--quiet", "--orphan", "pages").passed()
    pushing.git("rm", "--quiet", "-rf", ".").passed()
    pushing.commit("index.html")
    pushing.project.define(TARGETS)
    done = pushing.git("push", "origin", "pages").passed()
    assert "pages has no ci/forge-lanes.toml" in done.err
    assert len(pushing.ran()) == 2


def test_what_the_remote_has_and_is_not_here_is_no_obstacle(
    pushing: Pushing, tmp_path: Path
) -> None:
    pushing.git("clone", "--quiet", str(tmp_path / "remote"), str(tmp_path / "other")).passed()
    other = UserTree(tmp_path / "other")
    other.git("checkout", "--quiet", "main")
    other.write("src/theirs")
    other.commit()
    other.git("push", "--quiet", "origin", "main")
    pushing.commit("docs/mine")
    pushing.git("push", "--force", "origin", "main").passed()
    assert pushing.ran() == [("docs", "passed")]


def test_a_push_from_a_linked_work_tree_runs_its_commit(pushing: Pushing, tmp_path: Path) -> None:
    pushing.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked")).passed()
    linked = UserTree(tmp_path / "linked")
    linked.write("src/wrong")
    linked.commit()
    done = pushing.git("push", "origin", "topic", cwd=linked.root)
    assert done.code != 0
    assert pushing.ran() == [("code", "failed")]


def test_the_hook_is_where_git_looks_for_it(pushing: Pushing) -> None:
    root = pushing.project.root
    assert "removed" in pushing.project.here("hook", "uninstall").passed().err
    assert not (root / ".git/hooks/pre-push").exists()
    assert "there is no" in pushing.project.here("hook", "uninstall").passed().err
    pushing.git("config", "core.hooksPath", "our hooks").passed()
    for _ in range(2):
        pushing.project.here("hook", "install").passed()
    assert (root / "our hooks/pre-push").stat().st_mode & 0o111
    pushing.commit("docs/wrong")
    assert pushing.git("push", "origin", "main").code != 0
    assert pushing.ran() == [("docs", "failed")]


def test_another_hook_is_left_alone_and_told_what_to_do(pushing: Pushing) -> None:
    hook = pushing.project.root / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nexit 0\n")
    refused = pushing.project.here("hook", "install").refused()
    assert f"there is another hook, {hook}" in refused
    assert 'pikaci hook pre-push "$@"' in refused
    assert "another hook" in pushing.project.here("hook", "uninstall").refused()
    assert hook.read_text() == "#!/bin/sh\nexit 0\n"


def test_hooks_that_all_repositories_share_are_left_alone(pushing: Pushing, tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text(f"[core]\n  hooksPath = {tmp_path}/hooks\n")
    project = pushing.project.with_env(GIT_CONFIG_GLOBAL=str(settings))
    assert "for all of your repositories" in project.here("hook", "install").refused()
    assert not (tmp_path / "hooks").exists()


def test_a_flake_below_the_top_has_its_hook_too(pushing: Pushing) -> None:
    project = pushing.project
    project.define(TARGETS, "nix/ci")
    project.write("nix/ci/ci/forge-lanes.toml", "version = 1\n" + LANES)
    project.path("flake.nix").unlink()
    project.here("hook", "install", "--flake", "nix/ci").passed()
    pushing.commit("docs/wrong")
    done = pushing.git("push", "origin", "main")
    assert pushing.ran() == [("docs", "failed")], done


def test_without_pikaci_the_hook_says_how_to_push(pushing: Pushing) -> None:
    pushing.commit("src/a")
    path = pushing.project.env()["PATH"].split(":")
    rest = [each for each in path if each in {"/usr/bin", "/bin"}]
    done = pushing.git("push", "origin", "main", PATH=":".join(rest))
    assert done.code != 0
    assert "pikaci is not on PATH" in done.err


@pytest.mark.parametrize("text", ["a b c\n", "refs/heads/a x refs/heads/a y\n", "\0\n"])
def test_what_git_does_not_say_is_refused(pushing: Pushing, text: str) -> None:
    done = pushing.project.pikaci("hook", "pre-push", "origin", "url", stdin=text.encode())
    assert done.code == 2
    assert "is not what git tells a pre-push hook" in done.err


def test_a_directory_without_a_repository_has_no_hook(tmp_path: Path) -> None:
    project = Project.below(tmp_path)
    project.define(TARGETS)
    assert "git finds no repository" in project.here("hook", "install").refused()
