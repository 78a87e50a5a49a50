"""The git repository around the current directory: what `ph` is about unless it is told."""

from __future__ import annotations

import subprocess
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ph.errors import UsageError

GIT_SECS = 10.0


def current_branch() -> str:
    """The name of the branch that is checked out."""
    if name := _git("symbolic-ref", "--quiet", "--short", "HEAD"):
        return name
    raise UsageError("no branch is checked out here", "name the branch")


def remote_urls() -> list[str]:
    """Where this repository is pushed to: the branch's own remote first, then `origin`, others."""
    branch = _git("symbolic-ref", "--quiet", "--short", "HEAD")
    first = _git("config", "--get", f"branch.{branch}.remote") if branch else None
    names = dict.fromkeys(
        name for name in (first, "origin", *(_git("remote") or "").split()) if name
    )
    return [url for name in names if (url := _git("remote", "get-url", "--push", name))]


def pushed_commit(branch: str) -> str | None:
    """The commit that was pushed to a branch from here, as far as is known here."""
    for name in (f"{branch}@{{push}}", f"refs/remotes/origin/{branch}"):
        if found := _git("rev-parse", "--verify", "--quiet", "--end-of-options", name):
            return found
    return None


def has_commit(commit: str) -> bool:
    """Whether a commit is known here."""
    return _git("cat-file", "-e", f"{commit}^{{commit}}") is not None


def path_of(url: str) -> str:
    """The path in a remote's URL: of `host:a/b.git`, `ssh://host/a/b.git`, `/a/b.git`."""
    parts = urlsplit(url)
    if parts.scheme and parts.path and "://" in url:
        return unquote(parts.path)
    host, colon, path = url.partition(":")
    return path if colon and "/" not in host else url


def base_name(path: str) -> str:
    """The last part of a path, without `.git`."""
    return PurePosixPath(path).name.removesuffix(".git")


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *args], capture_output=True, text=True, check=False, timeout=GIT_SECS
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.removesuffix("\n") if done.returncode == 0 else None
