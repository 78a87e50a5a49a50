from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from xdist.scheduler import LoadScopeScheduling

from incus.server import IncusServer, private_incus
from remote.connecting import make_home
from remote.far_host import FarHost, far_hosts
from remote.plain_sshd import KINDS, PlainSshd, make_key, plain_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from incus.guest_project import GuestRunner
    from remote.far_guests import FarGuests
    from runner import Runner


class WriteHosts(Protocol):
    """Writes a hosts file with the tables of hosts, `extra` in each; its path."""

    def __call__(self, *hosts: FarHost, **extra: object) -> Path: ...


SHARED = {
    "test_reap": "incus",
    "test_remote_guest_commands": "incus",
    "test_remote_guest_lines": "lines",
    "test_remote_guests": "incus",
    "test_forward": "sshd",
    "test_proxy_command": "sshd",
    "test_shell_line": "sshd",
    "test_ssh_configuration": "sshd",
    "test_ssh_connection": "sshd",
}
"""Which tests share an sshd or an incusd, which each worker of pytest-xdist makes for itself."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give what shares something to one worker, and each other test to any.

    The marks of `--dist loadgroup` do nothing in pytest-xdist 3.8 with pytest 9.2.
    """
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda name: SHARED.get(Path(name.partition("::")[0]).stem, name)
    return scheduler


@pytest.fixture(autouse=True)
def _ssh_takes_its_configuration() -> None:
    """Jobs of an ordinary user are in a user namespace, where root's files are nobody's."""
    path = Path("/etc/ssh/ssh_config")
    if path.exists() and path.stat().st_uid not in {0, os.getuid()}:
        pytest.skip("ssh refuses its configuration in a user namespace: only root can be without")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainSshd]:
    """Has a host key of each kind and lets `login` in."""
    with plain_sshd(tmp_path_factory.mktemp("sshd"), kinds=KINDS) as server:
        server.authorize(make_key(server.directory / "login"))
        yield server


@pytest.fixture(scope="session")
def jump(tmp_path_factory: pytest.TempPathFactory, sshd: PlainSshd) -> Iterator[PlainSshd]:
    """Lets the same key in."""
    with plain_sshd(tmp_path_factory.mktemp("jump")) as server:
        server.authorize(sshd.directory / "login")
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: PlainSshd) -> Path:
    """A home without known hosts, with the key that is let in, and no agent."""
    make_home(tmp_path, sshd.directory / "login", monkeypatch)
    return tmp_path


@pytest.fixture(scope="session")
def session_hosts() -> Iterator[list[FarHost]]:
    """The hosts that tests are lent; with pytest-xdist every worker has its own."""
    with far_hosts(2) as hosts:
        yield hosts


@pytest.fixture
def far_host(session_hosts: list[FarHost]) -> Iterator[FarHost]:
    """A host where nothing runs and nobody has files; its store is not a new one."""
    yield session_hosts[0]
    session_hosts[0].mend()


@pytest.fixture
def two_far_hosts(far_host: FarHost, session_hosts: list[FarHost]) -> Iterator[list[FarHost]]:
    """Likewise two."""
    yield [far_host, session_hosts[1]]
    session_hosts[1].mend()


@pytest.fixture
def hosts_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteHosts:
    """A hosts file of the test's own, which programs that it starts read as well."""
    path = tmp_path / "config" / "pikaci" / "hosts.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(*hosts: FarHost, **extra: object) -> Path:
        path.write_text("\n".join(host.hosts_toml(**extra) for host in hosts))
        return path

    return write


@pytest.fixture
def host(far_host: FarHost, hosts_config: WriteHosts) -> FarHost:
    """A host that the hosts file has."""
    hosts_config(far_host)
    return far_host


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are asked for room one after the other, as they are written down."""
    monkeypatch.setattr("jerichoci.run.host_choice.STAGGER_SECS", 60.0)


@pytest.fixture(scope="session")
def session_incus() -> Iterator[IncusServer]:
    with private_incus() as server:
        yield server


@pytest.fixture
def far_incus(session_incus: IncusServer) -> Iterator[IncusServer]:
    """An Incus that far hosts reach by its socket's path: it has their files at the same paths.

    `hosts_config(host, incus={"socket": str(far_incus.socket)})` gives it to a host.
    """
    yield session_incus
    session_incus.remove_instances()


@pytest.fixture
def guests(
    runner: Runner, far_incus: IncusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    """The engine where there is no Incus, with guests of the one that far hosts reach."""
    from remote.far_guests import guests_of_nowhere

    return guests_of_nowhere(runner, far_incus, tmp_path, monkeypatch)


@pytest.fixture
def far(guests: GuestRunner, far_host: FarHost, hosts_config: WriteHosts) -> FarGuests:
    """Likewise, and a host with that Incus."""
    from remote.far_guests import FarGuests

    return FarGuests(guests, far_host, hosts_config).config()
