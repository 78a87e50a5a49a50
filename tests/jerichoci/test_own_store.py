"""Rooting what is there in a store of our own, as Nix does it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from derivations import derive, realise
from e2e.project import shim
from jerichoci.nix import own_store
from jerichoci.nix.own_store import root_valid
from plans import built, job
from privilege import only_root_can

if TYPE_CHECKING:
    from pathlib import Path

    from runner import Runner

PATH = "/nix/store/00000000000000000000000000000000-there"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a Nix whose store has one valid path."""
    for name in ("gcroots/auto", "db"):
        (tmp_path / "nix" / name).mkdir(parents=True)
    (tmp_path / "nix/db/schema").write_text("10")
    (tmp_path / "nix/gc.lock").touch()
    with closing(sqlite3.connect(tmp_path / "nix/db/db.sqlite")) as database:
        database.execute("CREATE TABLE ValidPaths (path text)")
        database.execute("INSERT INTO ValidPaths VALUES (?)", [PATH])
        database.commit()
    monkeypatch.setattr(own_store, "STATE", tmp_path / "nix")
    for name in ("NIX_REMOTE", "NIX_STATE_DIR", "NIX_STORE_DIR", "NIX_STORE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "nix"


def test_a_valid_path_is_rooted_by_a_link_that_nix_knows(store: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert root_valid({tmp_path / "link": PATH})
    (root,) = (store / "gcroots/auto").iterdir()
    assert root.readlink() == tmp_path / "link"
    assert str((tmp_path / "link").readlink()) == PATH


@pytest.mark.parametrize("why", ["invalid", "schema", "collecting", "daemon", "missing"])
def test_elsewhere_nix_is_asked(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    asked = {tmp_path / "link": PATH}
    collecting = os.open(store / "gc.lock", os.O_RDONLY)
    match why:
        case "invalid":
            asked[tmp_path / "other"] = f"{PATH}-not"
        case "schema":
            (store / "db/schema").write_text("11")
        case "collecting":
            fcntl.flock(collecting, fcntl.LOCK_EX)
        case "daemon":
            monkeypatch.setenv("NIX_REMOTE", "daemon")
        case "missing":
            (store / "db/db.sqlite").unlink()
    assert not root_valid(asked)
    os.close(collecting)
    assert not list((store / "gcroots/auto").iterdir())
    assert not (tmp_path / "link").is_symlink()


def roots_of(path: str) -> str:
    argv = ["nix-store", "--query", "--roots", path]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


async def test_what_is_there_is_rooted_without_a_nix(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_root_can("write to Nix's directory")
    builds = derive(a="echo 1 > $out", b="echo 2 > $out")
    for build in builds.values():
        realise(build)
    nodes = [built(name, build) for name, build in builds.items()]
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "nix", f'echo "$*" >> {calls}'))
    run = await runner.run(*nodes, job("use", needs=["a", "b"]))
    assert run.record.status == "passed"
    assert not calls.exists()
    for build in builds.values():
        assert f"{run.layout.gcroots}/" in roots_of(build.out_path)
