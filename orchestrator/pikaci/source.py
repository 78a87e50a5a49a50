"""`--source git+URL?rev=REV`: the tree of a commit that is not checked out here.

`nix-prefetch-git` gets it where it is on PATH; elsewhere plain git does.

- A source names one commit by its whole id, so what runs is what was asked for.
- Nothing of the fetched repository is executed or applied: no hooks, no filters, no line-ending
  rules; the files are the commit's bytes. No prompt is shown: a missing credential is a failure.
- A submodule is an empty directory: its contents aren't in the commit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.process import Completed, run
from jerichoci.snapshot.git import printed
from jerichoci.snapshot.repository import ATTRIBUTES
from jerichoci.state.credentials import without_credentials
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

FETCH_DEADLINE_SECS = 1800.0
"""A large repository over a slow line; past that, the line is dead."""

PREFETCH = "nix-prefetch-git"
_HINT = "a source is git+URL?rev=REV: an https, ssh, git or file URL, and a commit's whole id"
_SCHEMES = ("https", "ssh", "git", "file")
_PARAMETERS = ("rev", "ref")
_REV = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA1_LENGTH = 40
_REF = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9_.@+/-]*(?<![./])")
_BRANCHES_AND_TAGS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
# Set by git around hooks and aliases; they would point at another repository or index.
_ELSEWHERE = re.compile(
    "GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|COMMON_DIR|NAMESPACE|OBJECT_DIRECTORY"
    "|ALTERNATE_OBJECT_DIRECTORIES)"
)


@dataclass(frozen=True)
class SourceSpec:
    """A commit of a repository elsewhere.

    `ref` is where to look for it on a server that doesn't give commits by their id.
    """

    url: str
    rev: str
    ref: str | None = None

    @property
    def shown_url(self) -> str:
        """The URL without credentials, for messages and records."""
        return without_credentials(self.url)


def parse_source(text: str) -> SourceSpec:
    """Read `git+URL?rev=REV`, perhaps with `&ref=REF`."""
    if not text.startswith("git+"):
        _refuse(text, "does not start with `git+`")
    if not text.isprintable() or " " in text or "#" in text:
        _refuse(text, "has a character that a source can't have")
    try:
        parts = urlsplit(text.removeprefix("git+"))
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        _refuse(text, "is not a URL with a `rev`")
    _check_url(text, parts)
    found = dict(parameters)
    for name, _ in parameters:
        if name not in _PARAMETERS:
            _refuse(text, f"has the unknown parameter `{name}`")
    if len(found) != len(parameters):
        _refuse(text, "has a parameter twice")
    rev, ref = found.get("rev"), found.get("ref")
    if rev is None:
        _refuse(text, "has no `rev`")
    if _REV.fullmatch(rev.lower()) is None:
        _refuse(text, f"has the rev `{rev}`, which is not a commit's whole id")
    if ref is not None and _REF.fullmatch(ref) is None:
        _refuse(text, f"has the ref `{ref}`, which is no branch or tag")
    return SourceSpec(urlunsplit(parts._replace(query="")), rev.lower(), ref)


async def fetch_source(spec: SourceSpec, into: Path) -> tuple[Path, str]:
    """Fetch a source: its tree, and the program that fetched it.

    What plain git fetches is put below `into`, made if it isn't there.
    """
    env = await _quiet_environment()
    into.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"source-{spec.rev[:12]}-", dir=into))
    # Every `git init` below has these attributes, that of nix-prefetch-git too.
    template = work / "template"
    env["GIT_TEMPLATE_DIR"] = str(template)
    tree = None
    try:
        (template / "info").mkdir(parents=True)
        (template / "info" / "attributes").write_text(ATTRIBUTES)
        if shutil.which(PREFETCH):
            return await _fetch_by_nix(spec, env), PREFETCH
        tree = await _fetch_by_git(spec, work, env)
        return tree, "git"
    finally:
        shutil.rmtree(template if tree else work, ignore_errors=True)


def _refuse(text: str, why: str) -> NoReturn:
    raise UsageError(f"the source {without_credentials(text)!r} {why}", _HINT)


def _check_url(text: str, parts: SplitResult) -> None:
    if parts.scheme not in _SCHEMES or not text.startswith(f"git+{parts.scheme}://"):
        _refuse(text, f"is none of {', '.join(f'git+{scheme}://' for scheme in _SCHEMES)}")
    if not parts.path.strip("/"):
        _refuse(text, "names no repository")
    # ssh and git would take a name that starts with `-` for an option.
    user, _, host = parts.netloc.rpartition("@")
    if user.startswith("-") or host.startswith("-") or parts.path.startswith("/-"):
        _refuse(text, "has a name that starts with `-`")
    if (parts.scheme == "file") == bool(host):
        _refuse(text, "has a host" if host else "has no host")


async def _fetch_by_nix(spec: SourceSpec, env: Mapping[str, str]) -> Path:
    argv = [PREFETCH, "--url", spec.url, "--rev", spec.rev, "--quiet"]
    try:
        done = await run(argv, env=env, deadline_secs=FETCH_DEADLINE_SECS)
    except InfrastructureError as error:
        raise InfrastructureError(without_credentials(error.message), error.hint) from None
    if not done.ok:
        raise _fetch_failed(spec, done)
    try:
        answer = json.loads(done.stdout)
        path, rev = Path(answer["path"]), answer["rev"]
    except (ValueError, KeyError, TypeError) as error:
        raise InfrastructureError(
            "nix-prefetch-git did not answer with the JSON it is known for",
            "without it on PATH, git is used",
        ) from error
    if rev != spec.rev:
        raise InfrastructureError(
            f"nix-prefetch-git fetched {rev} of {spec.shown_url}, not {spec.rev}"
        )
    return path


async def _fetch_by_git(spec: SourceSpec, work: Path, env: Mapping[str, str]) -> Path:
    """Fetch and check out by plain git, in a private directory."""
    repository, tree = work / "git", work / "source"

    async def run_git(*args: str) -> Completed:
        guarded = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")
        argv = ["git", f"--git-dir={repository}", *guarded, *args]
        done = await run(argv, cwd=work, env=env, deadline_secs=FETCH_DEADLINE_SECS)
        if done.was_killed:
            raise InfrastructureError(done.reason())
        return done

    async def git(*args: str) -> None:
        done = await run_git(*args)
        if not done.ok:
            raise InfrastructureError(f"git failed on {spec.shown_url}: {done.reason()}")

    async def fetch(*args: str) -> Completed:
        quiet = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
        return await run_git("fetch", *quiet, *args)

    object_format = "sha1" if len(spec.rev) == _SHA1_LENGTH else "sha256"
    await git("init", "--quiet", "--bare", f"--object-format={object_format}", str(repository))
    if not (await fetch("--depth=1", "--", spec.url, spec.rev)).ok:
        # A server that refuses a commit's id is asked for what it shows.
        done = await fetch("--", spec.url, *([spec.ref] if spec.ref else _BRANCHES_AND_TAGS))
        if not done.ok:
            raise _fetch_failed(spec, done)
    kind = (await run_git("cat-file", "-t", spec.rev)).stdout.decode().strip()
    if kind != "commit":
        where = f" in {spec.ref}" if spec.ref else ""
        missing = f"there is no commit {spec.rev}{where}"
        found = f"{spec.rev} is a {kind}, not a commit" if kind else missing
        raise UsageError(f"{spec.shown_url}: {found}", "was it pushed?")
    tree.mkdir()
    await git("read-tree", spec.rev)
    plain = (f"--work-tree={tree}", "-c", "core.autocrlf=false")
    await git(*plain, "checkout-index", "--all", "--quiet")
    shutil.rmtree(repository)
    return tree


async def _quiet_environment() -> dict[str, str]:
    """This environment, without what points git elsewhere or lets it ask."""
    inherited = {key: value for key, value in os.environ.items() if not _ELSEWHERE.fullmatch(key)}
    # GIT_SSH_COMMAND hides the user's core.sshCommand.
    argv = ["git", "config", "--get", "core.sshCommand"]
    done = await run(argv, env=inherited, deadline_secs=FETCH_DEADLINE_SECS)
    ssh = inherited.get("GIT_SSH_COMMAND") or printed("config", done).decode().strip() or "ssh"
    return inherited | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_SSH_COMMAND": f"{ssh} -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
    }


def _fetch_failed(spec: SourceSpec, done: Completed) -> InfrastructureError:
    reason = done.reason().replace(spec.url, spec.shown_url)
    return InfrastructureError(
        f"{spec.shown_url} can't be fetched: {reason}",
        "no prompt is shown: credentials must be where git finds them",
    )
