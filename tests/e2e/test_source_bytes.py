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
"""


@pytest.mark.parametrize("by", ["git", "nix-prefetch-git"])
def test_attributes_and_settings_change_no_byte_of_a_commit(
    project: Project, tmp_path: Path, by: str
) -> None:
    project.define('  shows.jobs.it.command = "cat a.id a.crlf a.utf16";')
    for suffix in ("crlf", "auto", "old", "id", "utf16", "bin", "sub", "macro"):
        project.write(f"a.{suffix}", f"{suffix} $Id$ $Format:%H$\n")
    project.write("tool", "#!/bin/sh\n", mode=0o755)
    project.tree.link("link", "tool")
    project.tree.commit()
    project.write(".gitattributes", ATTRIBUTES)
    project.tree.git("add", ".gitattributes")
    project.tree.git("commit", "-qm", "attributes")
    config = tmp_path / "config"
    settings = (
        '[core]\nautocrlf = true\neol = crlf\n[filter "lfs"]\nsmudge = false\nrequired = true\n'
    )
    config.write_text(settings)
    tools = tmp_path / "tools"
    tools.mkdir()
    if by != "git":
        (tools / by).write_text(PREFETCH.replace("@tmp@", str(tmp_path)))
        (tools / by).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    rev, tree = project.tree.git("rev-parse", "HEAD", "HEAD^{tree}").decode().split()
    source = f"git+file://{project.root}?rev={rev}"
    fetching = project.with_env(PATH=path, GIT_CONFIG_GLOBAL=str(config))
    done = fetching.here("run", "shows", "--source", source).passed()
    assert f"fetched by {by}\n" in done.err
    assert project.record()["snapshot_id"] == tree
    assert "id $Id$" in project.log("it")
