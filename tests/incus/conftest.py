from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from incus.server import private_incus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from incus.server import IncusServer


class MakePool(Protocol):
    """Makes a pool of a driver; its name."""

    def __call__(self, name: str, driver: str = "dir") -> str: ...


@pytest.fixture(scope="session")
def incus_server() -> Iterator[IncusServer]:
    """A real Incus with the Debian guest; with pytest-xdist every worker has its own."""
    with private_incus() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_instance_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "incus_server" in request.fixturenames:
        server: IncusServer = request.getfixturevalue("incus_server")
        server.remove_instances()


@pytest.fixture
def make_pool(incus_server: IncusServer) -> Iterator[MakePool]:
    """Pools beside the usual one; they go with the test, and so do all instances."""
    made: list[str] = []

    def make(name: str, driver: str = "dir") -> str:
        incus_server.incus("storage", "create", name, driver)
        made.append(name)
        return name

    yield make
    incus_server.remove_instances()
    for name in made:
        incus_server.incus("storage", "delete", name)
