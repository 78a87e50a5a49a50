"""A host whose Nix daemon trusts nobody who logs in: paths must be signed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from derivations import derive
from jerichoci.status import FailureKind, Status
from plans import built
from remote.away import away
from remote.far_host import FarHost, one_far_host
from remote.machine import STARTED_SECS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from remote.conftest import WriteHosts
    from runner import Runner

START = """
unset NIX_REMOTE
setsid nix-daemon --option trusted-users nobody --option trusted-public-keys "$1" >/dev/null 2>&1 &
"""
KEY_NAME = "test-1"
USE = "cat $PIKACI_INPUT_DEP"


@pytest.fixture(scope="module")
def secret_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    argv = ["nix", "key", "generate-secret", "--key-name", KEY_NAME]
    path = tmp_path_factory.mktemp("keys") / "secret"
    path.write_bytes(subprocess.run(argv, check=True, capture_output=True).stdout)
    return path


@pytest.fixture(scope="module")
def strict_host(secret_key: Path) -> Iterator[FarHost]:
    """A host with a daemon that trusts the key and no user."""
    with one_far_host("strict", environment={"NIX_REMOTE": "daemon"}) as host:
        argv = ["nix", "key", "convert-secret-to-public"]
        done = subprocess.run(argv, input=secret_key.read_bytes(), check=True, capture_output=True)
        host.run(["sh", "-c", START, "sh", done.stdout.decode().strip()])
        socket = host.nix_dir / "var/nix/daemon-socket/socket"
        wait_for(socket.exists, STARTED_SECS, "the daemon doesn't listen")
        yield host


async def test_a_host_that_takes_no_unsigned_paths_says_so(
    runner: Runner, strict_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(strict_host)
    build = derive(dep="echo made > $out")["dep"]
    ended = await runner.run(built("dep", build), away("use", USE, strict_host, needs=["dep"]))
    job = ended.job("use")
    assert job.failure_kind is FailureKind.INFRASTRUCTURE
    assert job.cause
    assert job.cause.message == "Nix on strict takes no unsigned paths from us"
    assert "`signing_key` of [hosts.strict.nix]" in (job.cause.hint or "")


async def test_a_host_takes_what_is_signed_with_a_key_that_it_trusts(
    runner: Runner, strict_host: FarHost, hosts_config: WriteHosts, secret_key: Path
) -> None:
    hosts_config(strict_host, nix={"signing_key": str(secret_key)})
    builds = derive(base="echo made > $out", dep="cat $needed > $out", needs={"dep": ["base"]})
    use = away("use", USE, strict_host, needs=["dep"])
    ended = await runner.run(built("dep", builds["dep"]), use)
    assert ended.said("use") == ["made"]


async def test_a_key_that_is_none_is_named(
    runner: Runner, strict_host: FarHost, hosts_config: WriteHosts, tmp_path: Path
) -> None:
    hosts_config(strict_host, nix={"signing_key": str(tmp_path / "none")})
    build = derive(dep="echo made > $out")["dep"]
    ended = await runner.run(built("dep", build), away("use", USE, strict_host, needs=["dep"]))
    cause = ended.job("use").cause
    assert cause
    assert cause.message.startswith("paths for strict can't be signed: ")
    assert cause.hint == f"`signing_key` of [hosts.strict.nix] names {tmp_path}/none"


async def test_a_host_builds_for_whom_it_does_not_trust(
    runner: Runner, strict_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(strict_host)
    build = derive(dep="echo made > $out")["dep"].with_(residency="remote")
    where = {"host": strict_host.name}
    node = built("dep", build).with_(placement="remote_ssh", placement_config=where)
    ended = await runner.run(node, away("use", USE, strict_host, needs=["dep"]))
    assert ended.record.status is Status.PASSED
    assert ended.said("use") == ["made"]
