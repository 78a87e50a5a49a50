from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from forge_pushes import Pushes, make_bare
from pika_git.data import DataDir
from pika_git.forge_service import requests
from pika_git.forge_service.errors import InvalidError
from pika_git.forge_service.forge import Forge
from pika_git.forge_service.recovery import Act
from pika_git.git import Done, Repository
from pika_git.persistence.runs import Asked

if TYPE_CHECKING:
    from pathlib import Path

ANN = Act("ann", "to try it")


def test_others_can_write_while_git_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes = Pushes.below(tmp_path).with_lanes()
    forge = Forge(pushes.database, DataDir(tmp_path / "forge"))
    (file,) = tmp_path.rglob("forge.db")
    asked: list[str] = []
    run = Repository.run

    def look(self: Repository, *args: str, **options: Any) -> Done:  # noqa: ANN401
        with closing(sqlite3.connect(file, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        asked.append(args[0])
        return run(self, *args, **options)

    monkeypatch.setattr(Repository, "run", look)
    assert requests.start_run(forge, "demo", "main", Asked(lanes=("night",)), ANN) > 0
    assert asked
    asked.clear()
    other = make_bare(tmp_path / "other.git")
    assert requests.add_repo(forge, "other", str(other), None, ANN) > 0
    assert asked
    with pytest.raises(InvalidError, match="a repository other is registered"):
        requests.add_repo(forge, "other", str(make_bare(tmp_path / "x.git")), None, ANN)
    noted = pushes.rows("SELECT action, subject FROM audit ORDER BY id")
    assert [tuple(row) for row in noted] == [("run", "repo demo"), ("add", "repo other")]
