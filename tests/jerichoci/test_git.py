from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.machine.gather import together
from jerichoci.snapshot.git import Git
from jerichoci.snapshot.repository import open_repository
from jerichoci.state.lock import lock, try_lock
from usertree import written

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_failure_says_what_git_said(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="`git rev-parse` failed: not a git"):
        await Git(tmp_path).out("rev-parse", "HEAD")


async def test_a_missing_git_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match="git can't be started"):
        await Git(tmp_path).out("version")


async def test_the_private_repository_sees_no_settings_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text("[core]\n\tautocrlf = true\n[i18n]\n\tcommitEncoding = x\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.eol")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "crlf")
    repository = await open_repository(tmp_path / "state")
    settings = await repository.git.out("config", "--list")
    assert b"core.autocrlf=false" in settings
    assert b"encoding" not in settings
    assert b"core.eol" not in settings


async def test_the_private_repository_is_private_and_whole(tmp_path: Path) -> None:
    opened = await asyncio.gather(*(open_repository(tmp_path / "state") for _ in range(8)))
    assert len(set(opened)) == 1
    path = opened[0].path
    assert path.stat().st_mode & 0o777 == 0o700
    assert (await opened[0].git.line("rev-parse", "--is-bare-repository")) == "true"
    assert not path.with_name(".tmp-git").exists()


async def test_a_cancelled_git_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    async def fails_when_git_runs() -> None:
        await written(tmp_path / "pid")
        raise InfrastructureError("something else")

    with pytest.raises(InfrastructureError, match="something else"):
        await together(Git(tmp_path).out("version"), fails_when_git_runs())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_lock_waits_for_its_holder_and_no_longer_than_said(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    with try_lock(path) as held:
        assert held
        with pytest.raises(InfrastructureError, match="was locked by another process"):
            async with lock(path, 0.05):
                pass
    async with lock(path, 0.05, shared=True), lock(path, 0.05, shared=True):
        pass


async def test_a_lock_on_a_removed_file_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with try_lock(path):
        path.unlink()
        async with lock(path, 0.05):
            assert path.exists()
    shutil.rmtree(tmp_path)
