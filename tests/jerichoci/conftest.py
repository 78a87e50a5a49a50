from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from incus_fake import FakeIncus, fake_incus
from incus_jobs import write_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIncus]:
    """An Incus without guests, which is this user's."""
    # Not tmp_path: a socket's path is short.
    with tempfile.TemporaryDirectory() as directory, fake_incus(Path(directory, "s")) as incus:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        write_hosts(tmp_path / "config", socket=str(incus.socket))
        # It mounts nothing, so the disk that tests run on does not matter.
        monkeypatch.setattr("jerichoci.runtime.incus.check.NEVER", frozenset[str]())
        monkeypatch.setattr("jerichoci.machine.idmap.CANNOT", None)
        yield incus
        assert not incus.mistakes, incus.mistakes[0]
