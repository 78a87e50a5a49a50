from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from remote.conftest import far_host, hosts_config, session_hosts
from tart.mac import Mac, one_far_mac, one_mac
from tart_jobs import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from remote.far_host import FarHost

__all__ = ["far_host", "far_mac", "hosts_config", "mac", "session_hosts"]


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mac]:
    """This machine is a Mac, for the test and all that it starts."""
    with one_mac(tmp_path / "mac") as mac:
        for name, value in mac.environment.items():
            monkeypatch.setenv(name, value)
        yield mac


@pytest.fixture
def far_mac(far_host: FarHost) -> Iterator[Mac]:
    """The far host is a Mac."""
    with one_far_mac(far_host) as mac:
        yield mac


@pytest.fixture
def base(mac: Mac) -> None:
    """The Mac has a VM to clone."""
    mac.add_base(BASE)
