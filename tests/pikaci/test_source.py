from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.project import wait_for
from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine import process
from pikaci.source import SourceSpec, fetch_source, parse_source
from usertree import UserTree, written

if TYPE_CHECKING:
    from pytest_subprocess import FakeProcess


@pytest.fixture(autouse=True)
def _no_parent_to_die_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fake programs be called by their own names, not through setpriv."""
    monkeypatch.setattr(process, "find_setpriv", lambda: None)


REV = "0123456789abcdef0123456789abcdef01234567"
SLEEP = shutil.which("sleep")
URL = "https://example.org/repo.git"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        (f"git+{URL}?rev={REV}", SourceSpec(URL, REV)),
        (f"git+{URL}?rev={REV.upper()}", SourceSpec(URL, REV)),
        (f"git+{URL}?rev={'a' * 64}", SourceSpec(URL, "a" * 64)),
        (f"git+{URL}?ref=feature/x&rev={REV}", SourceSpec(URL, REV, "feature/x")),
        (f"git+{URL}?rev={REV}&ref=refs/tags/v1.0", SourceSpec(URL, REV, "refs/tags/v1.0")),
        (f"git+file:///srv/repo?rev={REV}", SourceSpec("file:///srv/repo", REV)),
        (f"git+ssh://git@host:22/r?rev={REV}", SourceSpec("ssh://git@host:22/r", REV)),
        (f"git+git://host/r?rev={REV}", SourceSpec("git://host/r", REV)),
    ],
)
def test_a_source_is_a_url_and_a_commit(text: str, spec: SourceSpec) -> None:
    assert parse_source(text) == spec


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not start with `git+`"),
        (f"{URL}?rev={REV}", "does not start with `git+`"),
        (f"path:/srv?rev={REV}", "does not start with `git+`"),
        (f"git+{URL}", "has no `rev`"),
        (f"git+{URL}?{REV}", "is not a URL with a `rev`"),
        (f"git+{URL}?ref=main", "has no `rev`"),
        (f"git+{URL}?rev=", "not a commit's whole id"),
        (f"git+{URL}?rev=main", "not a commit's whole id"),
        (f"git+{URL}?rev={REV[:12]}", "not a commit's whole id"),
        (f"git+{URL}?rev={REV}0", "not a commit's whole id"),
        (f"git+{URL}?rev={REV}&rev={REV}", "has a parameter twice"),
        (f"git+{URL}?rev={REV}&submodules=1", "has the unknown parameter `submodules`"),
        (f"git+{URL}?rev={REV}&ref=--upload-pack=x", "is no branch or tag"),
        (f"git+{URL}?rev={REV}&ref=a..b", "is no branch or tag"),
        (f"git+{URL}?rev={REV}&ref=a:b", "is no branch or tag"),
        (f"git+{URL}?rev={REV}&ref=", "is no branch or tag"),
        (f"git+{URL}?rev={REV}#x", "has a character that a source can't have"),
        (f"git+{URL} x?rev={REV}", "has a character that a source can't have"),
        (f"git+{URL}\n?rev={REV}", "has a character that a source can't have"),
        (f"git+http://host/r?rev={REV}", "is none of git+https://"),
        (f"git+ext::sh -c x?rev={REV}", "has a character"),
        (f"git+ext::x?rev={REV}", "is none of git+https://"),
        (f"git+--upload-pack=x?rev={REV}", "is none of git+https://"),
        (f"git+-u?rev={REV}", "is none of git+https://"),
        (f"git+host:repo?rev={REV}", "is none of git+https://"),
        (f"git+/srv/repo?rev={REV}", "is none of git+https://"),
        (f"git+https:host/r?rev={REV}", "is none of git+https://"),
        (f"git+ssh://-oProxyCommand=x/r?rev={REV}", "a name that starts with `-`"),
        (f"git+ssh://-l@host/r?rev={REV}", "a name that starts with `-`"),
        (f"git+ssh://host/-r?rev={REV}", "a name that starts with `-`"),
        (f"git+https:///r?rev={REV}", "has no host"),
        (f"git+https://host?rev={REV}", "names no repository"),
        (f"git+file://host/r?rev={REV}", "has a host"),
        (f"git+https://[::1/r?rev={REV}", "is not a URL"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert why in caught.value.message
    assert "git+URL?rev=REV" in (caught.value.hint or "")


@given(st.text())
def test_any_text_is_a_source_or_a_sentence(text: str) -> None:
    for candidate in (text, f"git+{text}", f"git+https://{text}?rev={REV}"):
        try:
            url = parse_source(candidate).url
        except UsageError:
            continue
        assert url.startswith(("https://", "ssh://", "git://", "file://"))


def test_credentials_are_not_shown() -> None:
    secret = "https://user:hunter2@example.org/r"  # noqa: S105 - the point of the test
    assert SourceSpec(secret, REV).shown_url == "https://***@example.org/r"
    with pytest.raises(UsageError) as caught:
        parse_source(f"git+{secret}")
    assert "hunter2" not in str(caught.value)


def git(repo: Path, *args: str) -> str:
    return UserTree(repo).git(*args).decode().strip()


def commit(repo: Path, path: str, content: bytes) -> str:
    UserTree(repo).write(path, content)
    return UserTree(repo).commit(path)


@pytest.fixture
def without_nix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that has git but no nix-prefetch-git."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        found = os.path.join(directory, "git")  # noqa: PTH118 - PATH holds strings
        if os.access(found, os.X_OK):
            (tools / "git").symlink_to(found)
            break
    monkeypatch.setenv("PATH", str(tools))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    where = tmp_path / "repo"
    where.mkdir()
    git(where, "init", "-qb", "main")
    commit(where, "file", b"first\n")
    return where


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sources"


def source(repo: Path, rev: str, ref: str | None = None) -> SourceSpec:
    return parse_source(f"git+file://{repo}?rev={rev}" + (f"&ref={ref}" if ref else ""))


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@pytest.mark.usefixtures("without_nix")
class TestPlainGit:
    async def test_a_commit_that_is_no_tip_is_fetched(self, repo: Path, into: Path) -> None:
        first = git(repo, "rev-parse", "HEAD")
        commit(repo, "file", b"second\n")
        tree, program = await fetch_source(source(repo, first), into)
        assert program == "git"
        assert tree.is_relative_to(into)
        assert entries(tree) == ["file"]
        assert (tree / "file").read_bytes() == b"first\n"
        assert entries(tree.parent) == ["source"]

    @pytest.mark.parametrize("ref", [None, "main", "refs/heads/main"])
    async def test_a_server_that_refuses_a_bare_id_is_asked_for_its_branches(
        self, repo: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ref: str | None
    ) -> None:
        first = git(repo, "rev-parse", "HEAD")
        commit(repo, "file", b"second\n")
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "0")
        tree, _ = await fetch_source(source(repo, first, ref), into)
        assert (tree / "file").read_bytes() == b"first\n"

    async def test_a_repository_named_by_the_environment_is_left_alone(
        self, repo: Path, into: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rev = git(repo, "rev-parse", "HEAD")
        monkeypatch.setenv("GIT_DIR", str(repo / "nowhere"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(repo / "nowhere"))
        assert (await fetch_source(source(repo, rev), into))[0].is_dir()
        assert not (repo / "nowhere").exists()

    @pytest.mark.parametrize("ref", [None, "main"])
    async def test_a_commit_that_is_not_there_is_named(
        self, repo: Path, into: Path, ref: str | None
    ) -> None:
        with pytest.raises(UsageError, match=f"there is no commit {REV}"):
            await fetch_source(source(repo, REV, ref), into)
        assert entries(into) == []

    async def test_the_id_of_a_tag_is_no_commit(self, repo: Path, into: Path) -> None:
        git(repo, "tag", "-am", "v1", "v1")
        with pytest.raises(UsageError, match="is a tag, not a commit"):
            await fetch_source(source(repo, git(repo, "rev-parse", "v1")), into)

    async def test_a_repository_that_is_not_there_is_the_machines_failure(
        self, tmp_path: Path, into: Path
    ) -> None:
        with pytest.raises(InfrastructureError, match="missing can't be fetched: "):
            await fetch_source(source(tmp_path / "missing", REV), into)
        assert entries(into) == []

    async def test_a_cancelled_fetch_leaves_no_process_and_no_files(
        self, repo: Path, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rev = git(repo, "rev-parse", "HEAD")
        (tmp_path / "slow").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec {SLEEP} 60\n")
        (tmp_path / "slow").chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(tmp_path / "slow"))
        spec = parse_source(f"git+ssh://host/repo?rev={rev}")
        fetching = asyncio.create_task(fetch_source(spec, into))
        pid = await written(tmp_path / "pid")
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        # git's own child is init's to reap.
        await asyncio.to_thread(wait_for, lambda: not Path("/proc", pid.strip()).exists())
        assert entries(into) == []

    async def test_ssh_is_told_not_to_ask(
        self, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit 1\n')
        (tmp_path / "ssh").chmod(0o755)
        config = tmp_path / "config"
        config.write_text(f"[core]\nsshCommand = {tmp_path}/ssh -v\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
        with pytest.raises(InfrastructureError, match="no prompt is shown"):
            await fetch_source(parse_source(f"git+ssh://host/repo?rev={REV}"), into)
        assert "-v -o BatchMode=yes" in (tmp_path / "asked").read_text()


SPEC = SourceSpec(URL, REV)
CALL = ["nix-prefetch-git", "--url", URL, "--rev", REV, "--quiet"]


@pytest.fixture
def nix(fp: FakeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    """A nix-prefetch-git on PATH, whose answer the test gives."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nix-prefetch-git").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    fp.register(["git", "config", "--get", "core.sshCommand"], returncode=1)
    return fp


def answer(path: Path, **changed: object) -> str:
    known: dict[str, object] = {
        "url": URL,
        "rev": REV,
        "path": str(path),
        "hash": "sha256-abc=",
        "fetchLFS": False,
    }
    return json.dumps(known | changed)


async def test_nix_prefetch_git_is_used_where_it_is(
    nix: FakeProcess, tmp_path: Path, into: Path
) -> None:
    nix.register(CALL, stdout=answer(tmp_path))
    assert await fetch_source(SPEC, into) == (tmp_path, "nix-prefetch-git")
    assert nix.call_count(CALL) == 1
    assert entries(into) == []


async def test_another_commit_than_asked_for_is_refused(
    nix: FakeProcess, tmp_path: Path, into: Path
) -> None:
    nix.register(CALL, stdout=answer(tmp_path, rev="f" * 40))
    with pytest.raises(InfrastructureError, match=f"fetched {'f' * 40} of {URL}, not {REV}"):
        await fetch_source(SPEC, into)


@pytest.mark.parametrize("stdout", ["", "no json", "[]", "{}", '{"path": 1, "rev": ""}'])
async def test_an_answer_of_another_shape_is_refused(
    nix: FakeProcess, into: Path, stdout: str
) -> None:
    nix.register(CALL, stdout=stdout)
    with pytest.raises(InfrastructureError, match="did not answer with the JSON"):
        await fetch_source(SPEC, into)


async def test_a_failing_nix_prefetch_git_is_quoted(nix: FakeProcess, into: Path) -> None:
    nix.register(CALL, returncode=1, stderr="warning: x\nfatal: no such host\n")
    with pytest.raises(InfrastructureError, match="can't be fetched: no such host"):
        await fetch_source(SPEC, into)
