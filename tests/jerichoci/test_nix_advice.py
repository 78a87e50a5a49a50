"""What to do where the groups of this machine keep Nix from working for us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.nix import command as nix
from pikaci.doctor.machine import nix_findings
from privilege import only_root_can

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DENIED = "error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Permission denied"


async def test_builders_without_a_group_are_seen_before_a_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_root_can("have a Nix that builds as other users")
    monkeypatch.setenv("NIX_CONFIG", "build-users-group = no-such-group")
    monkeypatch.delenv("NIX_REMOTE", raising=False)
    store = (await nix_findings())[-1]
    assert store.status == "bad"
    assert "make the group no-such-group" in str(store.hint)
    assert "nix-setup-systemd" in str(store.hint)


def test_who_may_not_use_the_daemon_is_told_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIX_STATE_DIR", str(tmp_path))
    assert nix.advice(DENIED) is None
    (tmp_path / "daemon-socket").mkdir()
    os.chown(tmp_path / "daemon-socket", -1, os.getegid())
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert nix.advice("error: something else") is None
    assert "sudo usermod -aG" in str(nix.advice(DENIED))
