"""The pre-push hook of git: installed where there is none, removed if pikaci wrote it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.snapshot.git import Git
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "# Installed by `pikaci hook install`"
_SCRIPT = """#!/bin/sh
{mark}; `pikaci hook uninstall` removes it.
# `git push --no-verify` pushes without it.
if ! command -v pikaci >/dev/null; then
  echo "pikaci is not on PATH; \\`git push --no-verify\\` pushes without it" >&2
  exit 1
fi
exec pikaci hook pre-push {options}"$@"
"""
_ALL_REPOSITORIES = ("global", "system")
"""Scopes of a setting that is not of one repository."""


@dataclass(frozen=True)
class Hook:
    """The place of the hook, `path`, and what is there: nothing, ours, or another's."""

    path: Path
    is_there: bool
    is_ours: bool


async def find_hook(root: Path) -> Hook:
    """The pre-push hook of the repository of a work tree.

    Raises:
        UsageError: there is no repository, or hooks are the same for all of the user's.
    """
    git = Git(cwd=root)
    found = await git.run("rev-parse", "--path-format=absolute", "--git-path", "hooks/pre-push")
    if not found.ok:
        raise UsageError(f"git finds no repository in {root}", "a hook needs one: `git init`")
    path = Path(os.fsdecode(found.stdout).removesuffix("\n"))
    setting = os.fsdecode(await git.found("config", "--show-scope", "--get", "core.hooksPath"))
    scope, _, directory = setting.removesuffix("\n").partition("\t")
    if scope in _ALL_REPOSITORIES:
        raise UsageError(
            f"the hooks in {directory} are for all of your repositories (core.hooksPath)",
            "have this one use its own: `git config core.hooksPath .git/hooks`",
        )
    try:
        is_ours = MARK in path.read_text(errors="replace")
    except OSError:
        is_ours = False
    return Hook(path, os.path.lexists(path), is_ours)


def install(hook: Hook, options: Sequence[str]) -> None:
    """Write the hook, which gives these options to pikaci.

    Raises:
        UsageError: there is another hook.
    """
    words = "".join(f"{shlex.quote(word)} " for word in options)
    if hook.is_there and not hook.is_ours:
        raise UsageError(
            f"there is another hook, {hook.path}",
            f'add to it, before anything that reads its input: `pikaci hook pre-push {words}"$@"`',
        )
    new = hook.path.with_name(f"{hook.path.name}.{os.getpid()}.new")
    try:
        hook.path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(_SCRIPT.format(mark=MARK, options=words))
        new.chmod(0o755)
        new.rename(hook.path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise InfrastructureError(f"could not write {hook.path}: {error.strerror}") from error


def uninstall(hook: Hook) -> bool:
    """Remove the hook; false if there is none.

    Raises:
        UsageError: there is another hook.
    """
    if not hook.is_there:
        return False
    if not hook.is_ours:
        raise UsageError(
            f"{hook.path} is another hook", "remove the line with `pikaci hook` from it yourself"
        )
    try:
        hook.path.unlink()
    except OSError as error:
        raise InfrastructureError(f"could not remove {hook.path}: {error.strerror}") from error
    return True
