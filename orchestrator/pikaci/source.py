"""`--source git+URL?rev=REV`: the tree of a commit that nobody has checked out.

`nix-prefetch-git` gets it where it is on PATH; elsewhere plain git does, and the result says which.

- A source names one commit by its whole id, so what runs is what was asked for.
- Nothing of the fetched repository is executed or applied: no hooks, no filters, no line-ending
  rules; the files are the commit's bytes. No prompt is shown: a missing credential is a failure.
- A commit with submodules is refused: their contents aren't in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.process import run
from jerichoci.snapshot.repository import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

    from jerichoci.machine.process import Completed

FETCH_DEADLINE_SECS = 1800.0
"""A large repository over a slow line; past that, the line is dead."""
LOCAL_DEADLINE_SECS = 300.0
"""git working on the local disk only."""

SOURCE_FORM = "git+URL?rev=REV"
_HINT = f"a source is {SOURCE_FORM}: an https, ssh, git or file URL, and a commit's whole id"
_SCHEMES = ("https", "ssh", "git", "file")
_PARAMETERS = ("rev", "ref")
_REV = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA1_LENGTH = 40
_REF = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9_.@+/-]*(?<![./])")
_BRANCHES_AND_TAGS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_CREDENTIALS = re.compile(r"(https://)[^/@]*@")
# Set by git around hooks and aliases; they would point at another repository or index.
_ELSEWHERE = frozenset(
    (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    )
)
_SUBMODULE_MODE = b"160000"


class FetchedBy(StrEnum):
    """Which tool fetched a source."""

    NIX_PREFETCH_GIT = "nix-prefetch-git"
    GIT = "git"


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
        return _without_credentials(self.url)


@dataclass(frozen=True)
class FetchedSource:
    """The tree of a commit, on this machine.

    `hash` is Nix's, of the tree; plain git has none. `date` is the commit's, ISO 8601.
    """

    path: Path
    rev: str
    hash: str | None
    date: str | None
    by: FetchedBy


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
        _refuse(text, "says a parameter twice")
    return SourceSpec(
        urlunsplit(parts._replace(query="")), _rev(text, found), _ref(text, found.get("ref"))
    )


async def fetch_source(spec: SourceSpec, into: Path) -> FetchedSource:
    """Fetch a source; what plain git fetches is put below `into`, made if it isn't there."""
    env = await _quiet_environment()
    work = _private_directory(into, f"source-{spec.rev[:12]}-")
    try:
        # Every `git init` below has these attributes, that of nix-prefetch-git too.
        template = work / "template"
        (template / "info").mkdir(parents=True)
        (template / "info" / "attributes").write_text(ATTRIBUTES)
        env["GIT_TEMPLATE_DIR"] = str(template)
        if not shutil.which(FetchedBy.NIX_PREFETCH_GIT):
            fetched = await _GitFetch(spec, work, env).fetch()
            shutil.rmtree(template)
            return fetched
        fetched = await _fetch_by_nix(spec, env)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work)
    return fetched


def _private_directory(into: Path, prefix: str) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=into))


def _without_credentials(text: str) -> str:
    return _CREDENTIALS.sub(r"\1***@", text)


def _refuse(text: str, why: str) -> NoReturn:
    raise UsageError(f"the source {_without_credentials(text)!r} {why}", _HINT)


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


def _rev(text: str, parameters: dict[str, str]) -> str:
    rev = parameters.get("rev")
    if rev is None:
        _refuse(text, "has no `rev`")
    if _REV.fullmatch(rev.lower()) is None:
        _refuse(text, f"has the rev `{rev}`, which is not a commit's whole id")
    return rev.lower()


def _ref(text: str, ref: str | None) -> str | None:
    if ref is not None and _REF.fullmatch(ref) is None:
        _refuse(text, f"has the ref `{ref}`, which is no branch or tag")
    return ref


async def _fetch_by_nix(spec: SourceSpec, env: Mapping[str, str]) -> FetchedSource:
    argv = [FetchedBy.NIX_PREFETCH_GIT.value, "--url", spec.url, "--rev", spec.rev, "--quiet"]
    try:
        done = await run(argv, env=env, deadline_secs=FETCH_DEADLINE_SECS)
    except InfrastructureError as error:
        raise InfrastructureError(_without_credentials(error.message), error.hint) from None
    if not done.ok:
        raise _fetch_failed(spec, done)
    fetched = _read_answer(done.stdout)
    if fetched.rev != spec.rev:
        raise InfrastructureError(
            f"nix-prefetch-git fetched {fetched.rev} of {spec.shown_url}, not {spec.rev}"
        )
    if (fetched.path / ".gitmodules").is_file():
        raise _has_submodules(spec, ".gitmodules")
    return fetched


def _read_answer(stdout: bytes) -> FetchedSource:
    try:
        answer = json.loads(stdout)
        return FetchedSource(
            path=Path(answer["path"]),
            rev=str(answer["rev"]),
            hash=answer.get("hash") or answer.get("sha256"),
            date=answer.get("date") or None,
            by=FetchedBy.NIX_PREFETCH_GIT,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InfrastructureError(
            "nix-prefetch-git did not answer with the JSON it is known for",
            "without it on PATH, git is used",
        ) from error


@dataclass(frozen=True)
class _GitFetch:
    """One fetch by plain git, in a private directory."""

    spec: SourceSpec
    work: Path
    env: Mapping[str, str]

    async def fetch(self) -> FetchedSource:
        await self._make_repository()
        await self._get_commit()
        await self._check_commit()
        tree = await self._check_out()
        date = await self._git("show", "--no-patch", "--format=%cI", self.spec.rev)
        shutil.rmtree(self._repository)
        return FetchedSource(
            path=tree,
            rev=self.spec.rev,
            hash=None,
            date=date.stdout.decode().strip(),
            by=FetchedBy.GIT,
        )

    @property
    def _repository(self) -> Path:
        return self.work / "git"

    async def _make_repository(self) -> None:
        object_format = "sha1" if len(self.spec.rev) == _SHA1_LENGTH else "sha256"
        flags = ("--quiet", "--bare", f"--object-format={object_format}")
        await self._git("init", *flags, str(self._repository))

    async def _get_commit(self) -> None:
        """Ask for the commit alone; a server that refuses is asked for what it shows."""
        if (await self._fetch(self.spec.rev, depth=1)).ok:
            return
        ref = self.spec.ref
        done = await self._fetch(*([ref] if ref else _BRANCHES_AND_TAGS))
        if not done.ok:
            raise _fetch_failed(self.spec, done)

    async def _fetch(self, *refs: str, depth: int | None = None) -> Completed:
        quiet = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
        shallow = () if depth is None else (f"--depth={depth}",)
        argv = ("fetch", *quiet, *shallow, "--", self.spec.url, *refs)
        return await self._run(argv, FETCH_DEADLINE_SECS)

    async def _check_commit(self) -> None:
        rev = self.spec.rev
        done = await self._run(["cat-file", "-t", rev], LOCAL_DEADLINE_SECS)
        kind = done.stdout.decode().strip()
        if kind == "commit":
            return
        where = f" in {self.spec.ref}" if self.spec.ref else ""
        found = f"{rev} is a {kind}, not a commit" if kind else f"there is no commit {rev}{where}"
        raise UsageError(f"{self.spec.shown_url}: {found}", "was it pushed?")

    async def _check_out(self) -> Path:
        tree = self.work / "source"
        tree.mkdir()
        listed = await self._git("ls-tree", "-r", "-z", "--full-tree", self.spec.rev)
        for entry in listed.stdout.split(b"\0"):
            meta, _, path = entry.partition(b"\t")
            if meta.startswith(_SUBMODULE_MODE):
                raise _has_submodules(self.spec, os.fsdecode(path))
        await self._git("read-tree", self.spec.rev)
        await self._git(
            f"--work-tree={tree}", "-c", "core.autocrlf=false", "checkout-index", "--all", "--quiet"
        )
        return tree

    async def _git(self, *args: str) -> Completed:
        done = await self._run(args, LOCAL_DEADLINE_SECS)
        if not done.ok:
            raise InfrastructureError(f"git failed on {self.spec.shown_url}: {done.reason()}")
        return done

    async def _run(self, args: Sequence[str], deadline_secs: float) -> Completed:
        guarded = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")
        argv = ["git", f"--git-dir={self._repository}", *guarded, *args]
        return await run(argv, cwd=self.work, env=self.env, deadline_secs=deadline_secs)


async def _quiet_environment() -> dict[str, str]:
    """This environment, without what points git elsewhere or lets it ask."""
    inherited = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    ssh = inherited.get("GIT_SSH_COMMAND") or await _configured_ssh(inherited) or "ssh"
    return inherited | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_SSH_COMMAND": f"{ssh} -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
    }


async def _configured_ssh(env: dict[str, str]) -> str:
    """The user's core.sshCommand, which GIT_SSH_COMMAND would hide."""
    argv = ["git", "config", "--get", "core.sshCommand"]
    done = await run(argv, env=env, deadline_secs=LOCAL_DEADLINE_SECS)
    return done.stdout.decode().strip()


def _fetch_failed(spec: SourceSpec, done: Completed) -> InfrastructureError:
    said = done.reason().replace(spec.url, spec.shown_url)
    return InfrastructureError(
        f"{spec.shown_url} can't be fetched: {said}",
        "no prompt is shown: credentials must be where git finds them",
    )


def _has_submodules(spec: SourceSpec, path: str) -> UsageError:
    return UsageError(
        f"{spec.rev[:12]} of {spec.shown_url} has a submodule ({path}), which a source can't have",
        "check it out with its submodules and run there",
    )
