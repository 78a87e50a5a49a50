from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from incus_jobs import write_hosts
from incus_stand_in import standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from incus_stand_in import StandIn


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """An Incus without guests, which is this user's."""
    # Not tmp_path: a socket's path is short.
    with tempfile.TemporaryDirectory() as directory, standing_in(Path(directory, "s")) as incus:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        write_hosts(tmp_path / "config", socket=str(incus.socket))
        # There is nobody behind it to whom the disk that tests run on would matter.
        monkeypatch.setattr("jerichoci.runtime.incus.disk.NEVER", frozenset[str]())
        monkeypatch.setattr("jerichoci.runtime.incus.disk.CANNOT", None)
        yield incus
        assert not incus.mistakes, incus.mistakes[0]
