"""A commit that is fetched is a snapshot of its own bytes, whichever tool fetches it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project

# What the real one does with git, and what it answers.
PREFETCH = """#!/bin/sh
set -e
HOME=/nowhere; export HOME
dir=$(mktemp -d "@tmp@/fetched-XXXXXX"); cd "$dir"
git init -q --initial-branch=master && git remote add origin "$2"
git fetch -q --depth=1 origin "$4" && git checkout -q -b fetchgit "$4"
rm -rf .git
echo '{"path": "'"$dir"'", "rev": "'"$4"'", "hash": "sha256-x"}'
"""
ATTRIBUTES = """
*.crlf text eol=crlf
*.auto text=auto
*.old crlf
*.id ident
*.utf16 text working-tree-encoding=UTF-16
*.bin filter=lfs -text
*.sub export-subst
*.macro binary
*.left export-ignore
"""


@pytest.fixture(params=["git", "nix-prefetch-git"])
def by(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def fetching(project: Project, tmp_path: Path, by: str) -> Project:
    """A project whose commits that tool fetches."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if by != "git":
        (tools / by).write_text(PREFETCH.replace("@tmp@", str(tmp_path)))
        (tools / by).chmod(0o755)
    return project.with_env(PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")


def head_of(project: Project) -> str:
    return f"git+file://{project.root}?rev={project.tree.git('rev-parse', 'HEAD').decode().strip()}"


def test_attributes_and_settings_change_no_byte_of_a_commit(
    project: Project, fetching: Project, tmp_path: Path, by: str
) -> None:
    project.define('  shows.jobs.it.command = "cat a.id a.crlf a.utf16";')
    for suffix in ("crlf", "auto", "old", "id", "utf16", "bin", "sub", "macro", "left"):
        project.write(f"a.{suffix}", f"{suffix} $Id$ $Format:%H$\n")
    project.write("tool", "#!/bin/sh\n", mode=0o755)
    project.tree.link("link", "tool")
    project.write(b"latin\xe9")
    project.tree.commit()
    project.write(".gitattributes", ATTRIBUTES)
    project.tree.git("add", ".gitattributes")
    project.tree.git("commit", "-qm", "attributes")
    config = tmp_path / "config"
    settings = (
        '[core]\nautocrlf = true\neol = crlf\n[filter "lfs"]\nsmudge = false\nrequired = true\n'
    )
    config.write_text(settings)
    tree = project.tree.git("rev-parse", "HEAD^{tree}").decode().strip()
    mine = fetching.with_env(GIT_CONFIG_GLOBAL=str(config))
    done = mine.here("run", "shows", "--source", head_of(project)).passed()
    assert f"fetched by {by}\n" in done.err
    assert project.record()["snapshot_id"] == tree
    assert "id $Id$" in project.log("it")


LEAN = '  lean = { snapshot.exclude = [ "assets/**" ]; jobs.it.command = "find ."; };'


def submodule(project: Project, where: str, setting: str = "") -> None:
    """Commit a submodule that is not checked out."""
    project.define(LEAN)
    project.write(".gitmodules", f'[submodule "it"]\npath = {where}\nurl = ../it\n{setting}\n')
    rev = project.tree.commit()
    project.tree.git("update-index", "--add", "--cacheinfo", f"160000,{rev},{where}")
    project.tree.git("commit", "-qm", "submodule")


@pytest.mark.parametrize(
    ("where", "setting", "note"),
    [
        ("assets/it", "", "assets/it has no content here; snapshot.exclude leaves it out"),
        ("deep/it", "update = none", "the submodule deep/it is inactive: passed over"),
    ],
)
def test_a_submodule_of_a_commit_that_no_job_sees_is_passed_over(
    project: Project, fetching: Project, where: str, setting: str, note: str
) -> None:
    submodule(project, where, setting)
    done = fetching.here("run", "lean", "--source", head_of(project)).passed()
    assert note in done.err
    assert project.record()["git_dirty"] is False


def test_what_is_not_in_a_commit_is_refused_where_a_job_sees_it(
    project: Project, fetching: Project
) -> None:
    submodule(project, "deep/it")
    done = fetching.here("run", "lean", "--source", head_of(project))
    assert done.code == 2
    assert "the submodule deep/it is not checked out; a source has only what is in" in done.err
    project.define(LEAN)
    project.tree.git("rm", "-q", "--cached", "deep/it")
    project.write(".gitattributes", "*.film filter=lfs -text\n")
    project.write("a.film", f"version https://git-lfs.github.com/spec/v1\noid sha256:{64 * '1'}\n")
    project.tree.commit()
    done = fetching.here("run", "lean", "--source", head_of(project))
    assert done.code == 2
    assert "a.film is a Git LFS pointer, its content was never fetched; a source has" in done.err
