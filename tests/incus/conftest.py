from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

import pytest

from incus.guest_project import GuestRunner, make_guests
from incus.guest_proxy import Proxy, proxy_to
from incus.server import IncusServer, private_incus
from jerichoci.runtime.incus.client import Incus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner import Runner


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


@pytest.fixture
def incus(incus_server: IncusServer) -> Iterator[Incus]:
    """A project without images, which goes with the test."""
    name = f"images-{secrets.token_hex(3)}"
    incus_server.incus("project", "create", name, "--config=features.images=true")
    project = Incus(incus_server.socket, name)
    yield project
    for found in project.images():
        project.delete_image(found.fingerprint)
    incus_server.incus("project", "delete", name)


@pytest.fixture
def guests(
    runner: Runner, incus_server: IncusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    """The engine, with jobs in guests of this Incus."""
    return make_guests(runner, incus_server, tmp_path, monkeypatch)


@pytest.fixture
def told_guests(guests: GuestRunner) -> GuestRunner:
    """The same, with guests that have to be told to begin a job."""
    return guests.of(guests.server.import_told())


@pytest.fixture
def proxy(incus_server: IncusServer) -> Iterator[Proxy]:
    """A way to this Incus that can be cut."""
    with proxy_to(incus_server.socket, incus_server.directory / "proxy") as proxy:
        yield proxy
