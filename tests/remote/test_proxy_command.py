"""A command that is the way to a host: run as ssh runs it, and told of when it leads nowhere."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jerichoci.remote.ssh import connection, proxy
from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.errors import UnreachableHostError
from remote.connecting import configure, far, refused, says

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from asyncssh import SSHClientConnection

    from remote.plain_sshd import PlainSshd

pytestmark = pytest.mark.usefixtures("home")


def inner(home: Path, server: PlainSshd, sshd: PlainSshd) -> str:
    """ssh's own configuration of a jump host; ssh takes no $HOME for the home."""
    return (
        f"Host jump\n HostName 127.0.0.1\n Port {server.port}\n User {server.user}\n"
        f" IdentityFile {home}/.ssh/id_ed25519\n IdentitiesOnly yes\n IdentityAgent none\n"
        f" UserKnownHostsFile {home}/jump\n GlobalKnownHostsFile none\n BatchMode yes\n"
        f" ProxyCommand none\n"
        f"Host far\n HostName 127.0.0.1\n Port {sshd.port}\n UserKnownHostsFile {home}/known\n"
    )


async def test_ssh_itself_can_be_the_way(home: Path, sshd: PlainSshd) -> None:
    (home / "jump").write_text(sshd.known_line())
    (home / "known").write_text(sshd.known_line())
    config = home / ".ssh" / "config"
    configure(home, f"{inner(home, sshd, sshd)} ProxyCommand ssh -F {config} -W %h:%p jump\n")
    before = sshd.log.count("Accepted publickey")
    assert await says(far()) == "hello"
    assert sshd.log.count("Accepted publickey") == before + 2


async def test_why_ssh_is_no_way_is_told(home: Path, sshd: PlainSshd) -> None:
    (home / "jump").write_text("")
    config = home / ".ssh" / "config"
    configure(home, f"{inner(home, sshd, sshd)} ProxyCommand ssh -F {config} -W %h:%p jump\n")
    error = await refused(far(), UnreachableHostError)
    assert f"by its ProxyCommand `ssh -F {config} -W 127.0.0.1:{sshd.port} jump`" in error.message
    assert "` (it exited with 255): " in error.message
    assert "Host key verification failed" in error.message


PIPE = """\
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        there.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
print(*sys.argv[2:], file=open("words", "w"))
sys.stderr.write("what it says\\n" * 20000)
os.close(2)
while data := there.recv(65536):
    os.write(1, data)
"""


async def test_a_command_is_the_users_shells(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("LAB", str(sshd.port))
    (home / "pipe.py").write_text(PIPE)
    command = "python3 ~/pipe.py $LAB '%h  %n' %p %r %% \"$(echo %h)\""
    configure(home, f"Host far\n HostName box\n Port 5\n User {sshd.user}\n ProxyCommand {command}")
    assert await says(far(fingerprint=sshd.fingerprint())) == "hello"
    assert (home / "words").read_text() == f"box  far 5 {sshd.user} % box\n"


async def test_a_command_that_ends_says_how(home: Path) -> None:
    configure(home, "ProxyCommand echo no way >&2; exit 3\n")
    error = await refused(far(), UnreachableHostError)
    assert "could not be reached by its ProxyCommand `echo no way >&2; exit 3`" in error.message
    assert error.message.endswith(": no way")
    configure(home, "ProxyCommand no-such-program\n")
    error = await refused(far(), UnreachableHostError)
    assert "` (it exited with 127): " in error.message
    assert "no-such-program" in error.message.rpartition("`")[2]


async def test_a_signal_is_named_unless_it_is_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, "ProxyCommand kill -9 $$\n")
    error = await refused(far(), UnreachableHostError)
    assert error.message.endswith("`kill -9 $$` (it was killed by SIGKILL): it printed nothing")
    monkeypatch.setattr(connection, "CONNECT_SECS", 0.5)
    monkeypatch.setattr(proxy, "END_SECS", 0.1)
    configure(home, "ProxyCommand sh -c 'echo so far >&2; sleep 60'\n")
    error = await refused(far(), UnreachableHostError)
    assert "was not reached within 0.5 s by its ProxyCommand `sh -c" in error.message
    assert error.message.endswith(" sleep 60'`: so far")


@pytest.mark.parametrize("said", ["HTTP/1.0 403 Forbidden", "Not allowed at this time"])
async def test_the_last_words_of_a_command_that_ends_at_once_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    async def opened_late(opening: Awaitable[SSHClientConnection]) -> SSHClientConnection:
        await asyncio.sleep(0.5)  # the command ends before anything is sent to it
        return await opening

    monkeypatch.setattr(connection, "opened", opened_late)
    configure(home, f"ProxyCommand echo {said}\n")
    error = await refused(far(), UnreachableHostError)
    assert f"it sent `{said}`" in error.message


async def test_a_command_goes_with_its_connection(home: Path, sshd: PlainSshd) -> None:
    (home / "pipe.py").write_text(PIPE)
    line = f"cd {home} && echo $$ > pid && exec python3 pipe.py {sshd.port}"
    configure(home, f"ProxyCommand sh -c '{line}'\n")
    async with await connect(far(fingerprint=sshd.fingerprint())):
        pid = int((home / "pid").read_text())
        os.kill(pid, 0)
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110 - somebody else's process
            await asyncio.sleep(0.05)
