"""The far hosts that other tests use are what they are taken for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from remote.far_host import FarHost, one_far_host
from remote.machine import wait_for
from remote.session import CONNECT_SECS, connected, told
from remote.slot import BASE, mounts_below

SILENCE_SECS = 1.5
"""Longer than an answer takes; who then hasn't answered doesn't."""
COME_SECS = 30


def test_ssh_itself_takes_the_line_for_known_hosts(far_host: FarHost, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"{far_host.known_hosts_line}\n")
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}"]
    arguments = ["-F", "none", "-i", str(far_host.client_key), "-p", str(far_host.port)]
    target = [*(f"-o{option}" for option in options), f"root@{far_host.address}", "hostname"]
    done = subprocess.run(
        ["ssh", *arguments, *target],
        check=True,
        capture_output=True,
        text=True,
        timeout=CONNECT_SECS,
    )
    assert done.stdout == f"{far_host.name}\n"


async def test_what_is_needed_is_there_and_nothing_of_the_tests(
    far_host: FarHost, tmp_path: Path
) -> None:
    async with connected(far_host) as connection:
        for tool in ("git", "python3", "nix", "nix-store", "nix-daemon"):
            assert await told(connection, f"command -v {tool}")
        with pytest.raises(asyncssh.ProcessError):
            await told(connection, "python3 -c 'import jerichoci'")
        # Where the tests' Nix lies in /tmp, that is there, and nothing else.
        assert not await told(connection, f"ls -d {tmp_path} 2>/dev/null; ls -A /dev/shm; true")


async def test_a_command_run_directly_has_a_sessions_environment(far_host: FarHost) -> None:
    async with connected(far_host) as connection:
        there = await told(connection, "env")
    directly = far_host.run(["bash", "-c", "env"]).stdout
    passing = {"SSH_CLIENT", "SSH_CONNECTION", "MAIL", "SHLVL", "_"}
    names = [{line.partition("=")[0] for line in env.splitlines()} for env in (there, directly)]
    assert names[0] - passing == names[1] - passing
    assert far_host.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    assert far_host.run(["cat"], stdin="given").stdout == "given"


def test_two_hosts_have_nothing_in_common(two_far_hosts: list[FarHost]) -> None:
    one, other = two_far_hosts
    for kind in ("name", "address", "work_dir", "home", "client_key", "host_key_fingerprint"):
        assert getattr(one, kind) != getattr(other, kind)
    assert one.boot_id() != other.boot_id()
    one.run(["sh", "-c", "touch /tmp/mine /nix/mine ~/mine"])
    assert not other.run(["sh", "-c", "ls /tmp/mine /nix/mine ~/mine"], check=False).stdout


async def test_a_host_that_is_off_is_silent_and_a_reboot_ends_what_ran_and_keeps_files(
    far_host: FarHost, marker: str
) -> None:
    before = far_host.boot_id()
    async with connected(far_host) as connection:
        said = await told(connection, "cat /proc/sys/kernel/random/boot_id")
        assert said == before
        # In a PID namespace of its own, as jobs are.
        await told(
            connection, f"setsid unshare -pf sh -c 'sleep 600; : {marker}' >/dev/null 2>&1 &"
        )
        await told(connection, "echo kept > ~/file; touch /tmp/file")
        wait_for(lambda: marker in str(far_host.processes()), COME_SECS, "it doesn't run")
        far_host.power_off()
        # Longer than it takes to find out that no machine has an address.
        with pytest.raises(TimeoutError):
            socket.create_connection((far_host.address, far_host.port), timeout=5).close()
        far_host.power_on()
        # Of the connection the host knows nothing any more: it says so when it is asked.
        with pytest.raises((asyncssh.Error, OSError)):
            await told(connection, "true")
        await asyncio.wait_for(connection.wait_closed(), COME_SECS)
    assert far_host.processes() == []
    async with connected(far_host) as connection:
        said = await told(connection, "cat /proc/sys/kernel/random/boot_id ~/file")
        assert not await told(connection, "ls -d /tmp/file 2>/dev/null; true")
    assert said == f"{far_host.boot_id()}\nkept"
    assert far_host.boot_id() != before


async def test_a_mended_host_is_as_it_was(far_host: FarHost, marker: str) -> None:
    async with connected(far_host) as connection:
        await told(connection, f"setsid sh -c 'sleep 600; : {marker}' >/dev/null 2>&1 &")
        await told(connection, f"mkdir -p {far_host.work_dir}/a/b ~/c; chmod 0 ~/c")
        far_host.stop_sshd()
        far_host.cut()
        far_host.mend()
        await asyncio.wait_for(connection.wait_closed(), COME_SECS)
    assert far_host.processes() == []
    left = [*far_host.work_dir.iterdir(), *far_host.home.iterdir()]
    assert {path.name for path in left} <= {"agent"}
    async with connected(far_host) as connection:
        assert await told(connection, "echo again") == "again"


async def test_nothing_is_left_of_a_host(marker: str) -> None:
    with one_far_host() as host:
        interface = Path("/sys/class/net", f"pkr{host.directory.name}")
        assert interface.exists()
        async with connected(host) as connection:
            await told(connection, f"setsid sh -c 'sleep 600; : {marker}' >/dev/null 2>&1 &")
            await told(connection, f"mount -t tmpfs tmpfs {host.work_dir}; nix store info 2>&1")
        assert running(marker)
    assert not running(marker)
    assert not running(str(host.directory))
    assert not interface.exists()
    assert not mounts_below(BASE / host.directory.name)
    assert not host.directory.exists()
    assert not host.directory.with_suffix(".lock").exists()


KILLED = """
import json, sys, time
from remote.far_host import one_far_host
with one_far_host() as host:
    host.run(["sh", "-c", "setsid sh -c 'sleep 600; : @marker@' >/dev/null 2>&1 &"])
    print(json.dumps(host.directory.name), flush=True)
    time.sleep(600)
"""


def test_what_killed_tests_leave_ends_and_is_removed_by_the_next(marker: str) -> None:
    script = KILLED.replace("@marker@", marker)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=env, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            name = json.loads(process.stdout.readline())
            assert running(f"sleep 600; : {marker}")
        finally:
            process.send_signal(signal.SIGKILL)
    wait_for(lambda: not running(f"sleep 600; : {marker}"), COME_SECS, "it goes on")
    interface = Path("/sys/class/net", f"pkr{name}")
    wait_for(lambda: not interface.exists(), COME_SECS, "the network stays")
    with one_far_host():
        assert not BASE.joinpath(name).exists()


def running(words: str) -> list[str]:
    """The command lines here that have these words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if words.encode() in line:
            found.append(os.fsdecode(line))
    return found
