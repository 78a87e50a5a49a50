"""Connections to a real sshd: who is let in, who is refused, and what is said then."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jerichoci.plan.hosts import RemoteHost
from jerichoci.remote.ssh import connection, settings
from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostKeyError,
    HostSettingsError,
    KeyFileError,
    UnreachableHostError,
)
from remote.connecting import (
    configure,
    host,
    know,
    make_home,
    refused,
    run,
    says,
    stranger,
    trusted,
)
from remote.plain_sshd import (
    PlainSshd,
    fingerprint,
    free_port,
    make_key,
    plain_sshd,
    public_key,
    ssh_agent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("ed25519", "ecdsa", "rsa")
PHRASE = "swordfish"
OTHER = "SHA256:" + "a" * 43


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainSshd]:
    """Has a host key of each kind and lets `login` in."""
    with plain_sshd(tmp_path_factory.mktemp("sshd"), kinds=KINDS) as server:
        server.authorize(make_key(server.directory / "login"))
        yield server


@pytest.fixture(scope="module")
def jump(tmp_path_factory: pytest.TempPathFactory, sshd: PlainSshd) -> Iterator[PlainSshd]:
    """Lets the same key in."""
    with plain_sshd(tmp_path_factory.mktemp("jump")) as server:
        server.authorize(sshd.directory / "login")
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: PlainSshd) -> Path:
    """A home without known hosts, with the key that is let in, and no agent."""
    make_home(tmp_path, sshd.directory / "login", monkeypatch)
    return tmp_path


# --- Host keys ---


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_any_kind_in_known_hosts_is_trusted(
    home: Path, sshd: PlainSshd, kind: str
) -> None:
    know(home, sshd.known_line(kind))
    assert await says(host(sshd)) == "hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fingerprint_of_a_key_of_any_kind_is_trusted(sshd: PlainSshd, kind: str) -> None:
    assert await says(host(sshd, fingerprint=sshd.fingerprint(kind))) == "hello"


async def test_a_fingerprint_makes_known_hosts_of_no_matter(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, sshd.known_line().replace(sshd.public_key(), jump.public_key()))
    assert await says(host(sshd, fingerprint=sshd.fingerprint())) == "hello"


async def test_hashed_names_are_known(home: Path, sshd: PlainSshd) -> None:
    know(home, sshd.known_line())
    path = str(home / ".ssh" / "known_hosts")
    run("ssh-keygen", "-q", "-H", "-f", path)
    assert "127.0.0.1" not in Path(path).read_text(encoding="utf-8")
    assert await says(host(sshd)) == "hello"


async def test_the_names_file_of_the_hosts_file_is_read_instead(
    home: Path, sshd: PlainSshd
) -> None:
    (home / "mine").write_text(sshd.known_line(), encoding="utf-8")
    assert await says(host(sshd, known_hosts=str(home / "mine"))) == "hello"
    know(home, sshd.known_line())
    (home / "mine").write_text("", encoding="utf-8")
    await refused(host(sshd, known_hosts=str(home / "mine")), HostKeyError)


async def test_a_line_that_can_not_be_read_hides_no_other(home: Path, sshd: PlainSshd) -> None:
    know(home, "nonsense\n", "@what * ssh-ed25519 AAAA\n", sshd.known_line(), "|1|x ssh-rsa A\n")
    assert await says(host(sshd)) == "hello"


async def test_an_unknown_key_is_refused_with_how_to_accept_it(home: Path, sshd: PlainSshd) -> None:
    error = await refused(host(sshd), HostKeyError)
    print_of = sshd.fingerprint()
    assert error.message == (
        f"lab (127.0.0.1:{sshd.port}) offers the host key {print_of}, which is not in known_hosts"
    )
    assert error.hint
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in error.hint
    assert f'`fingerprint = "{print_of}"` under [hosts.lab]' in error.hint
    run("sh", "-c", error.hint[error.hint.index("echo ") :])
    assert (home / ".ssh" / "known_hosts").read_text(encoding="utf-8") == sshd.known_line()
    assert await says(host(sshd)) == "hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_changed_key_is_refused_with_both(
    home: Path, sshd: PlainSshd, tmp_path: Path, kind: str
) -> None:
    old = make_key(tmp_path / "old", kind)
    know(home, f"[127.0.0.1]:{sshd.port} {public_key(old)}\n")
    error = await refused(host(sshd), HostKeyError)
    assert error.message == (
        f"the host key of lab (127.0.0.1:{sshd.port}) has changed: "
        f"expected {fingerprint(old)}, got {sshd.fingerprint(kind)}"
    )
    assert error.hint
    assert "find out why" in error.hint
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in error.hint


async def test_a_key_of_another_kind_than_known_is_a_changed_one(
    home: Path, jump: PlainSshd, tmp_path: Path
) -> None:
    old = make_key(tmp_path / "old", "ecdsa")
    know(home, f"[127.0.0.1]:{jump.port} {public_key(old)}\n")
    error = await refused(host(jump), HostKeyError)
    assert f"expected {fingerprint(old)}, got {jump.fingerprint()}" in error.message


async def test_another_fingerprint_is_a_changed_key(home: Path, sshd: PlainSshd) -> None:
    know(home, sshd.known_line())
    error = await refused(host(sshd, fingerprint=OTHER), HostKeyError)
    assert f"expected {OTHER}, got {sshd.fingerprint()}" in error.message
    assert "ssh-keygen -R" not in str(error.hint)


async def test_the_key_of_another_port_makes_an_unknown_one_not_a_changed_one(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, f"127.0.0.1 {jump.public_key()}\n")
    assert "is not in known_hosts" in (await refused(host(sshd), HostKeyError)).message


async def test_an_address_that_is_known_vouches_for_no_name(home: Path, sshd: PlainSshd) -> None:
    know(home, sshd.known_line())
    error = await refused(host(sshd, address="localhost"), HostKeyError)
    assert "is not in known_hosts" in error.message


async def test_a_revoked_key_is_refused(home: Path, sshd: PlainSshd) -> None:
    know(home, sshd.known_line(), f"@revoked * {sshd.public_key()}\n")
    assert "revoked" in (await refused(host(sshd), HostKeyError)).message


async def test_ssh_configuration_can_not_turn_the_check_off(home: Path, sshd: PlainSshd) -> None:
    configure(home, "Host *\n StrictHostKeyChecking no\n UserKnownHostsFile none\n")
    assert "is not in known_hosts" in (await refused(host(sshd), HostKeyError)).message
    configure(home, "Host *\n UserKnownHostsFile /dev/null\n GlobalKnownHostsFile none\n")
    assert "is not in known_hosts" in (await refused(host(sshd), HostKeyError)).message


def certify(server: Path, authority: Path, principal: str) -> str:
    """Have an authority sign an sshd's key; what its configuration needs."""
    make_key(server / "host_ed25519")
    signing = ["ssh-keygen", "-q", "-s", str(authority), "-I", "lab", "-h", "-n", principal]
    run(*signing, str(server / "host_ed25519.pub"))
    return f"HostCertificate {server}/host_ed25519-cert.pub"


@pytest.mark.parametrize(("principal", "is_good"), [("127.0.0.1", True), ("other", False)])
async def test_an_authority_vouches_for_the_names_in_a_certificate(
    home: Path, tmp_path: Path, principal: str, *, is_good: bool
) -> None:
    authority = make_key(tmp_path / "authority")
    more = certify(tmp_path / "certified", authority, principal)
    with plain_sshd(tmp_path / "certified", more=more) as server:
        server.authorize(home / ".ssh" / "id_ed25519")
        know(home, f"@cert-authority * {public_key(authority)}\n")
        if is_good:
            assert await says(host(server)) == "hello"
        else:
            assert "not valid" in (await refused(host(server), HostKeyError)).message


async def test_a_certificate_of_an_unknown_authority_is_refused(home: Path, tmp_path: Path) -> None:
    more = certify(tmp_path / "certified", make_key(tmp_path / "authority"), "127.0.0.1")
    with plain_sshd(tmp_path / "certified", more=more) as server:
        know(home, f"@cert-authority * {public_key(make_key(tmp_path / 'other'))}\n")
        error = await refused(host(server), HostKeyError)
    assert fingerprint(tmp_path / "authority") in error.message


# --- Who we are ---


async def test_a_key_that_is_named_is_used(home: Path, sshd: PlainSshd) -> None:
    (home / ".ssh" / "id_ed25519").rename(home / "key")
    assert await says(trusted(sshd, key=str(home / "key"))) == "hello"


async def test_a_key_in_an_agent_is_used(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".ssh" / "id_ed25519").unlink()
    with ssh_agent(home, sshd.directory / "login") as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        assert await says(trusted(sshd)) == "hello"


async def test_the_agent_of_ssh_configuration_is_used(home: Path, sshd: PlainSshd) -> None:
    (home / ".ssh" / "id_ed25519").unlink()
    with ssh_agent(home, sshd.directory / "login"):
        configure(home, "IdentityAgent ~/agent\n")
        assert await says(trusted(sshd)) == "hello"


async def test_a_named_key_comes_before_the_many_of_an_agent(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_key(home / f"other{number}") for number in range(7)]
    with ssh_agent(home, *others) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        assert await says(trusted(sshd, key="~/.ssh/id_ed25519")) == "hello"
        try:
            said = await says(trusted(sshd))
        except AuthenticationError as error:
            said = error.message
    # OpenSSH 10.6 counts no keys that are only offered.
    assert said == "hello" or "Too many authentication failures" in said


async def test_an_encrypted_key_needs_an_agent(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(home / "secret", passphrase=PHRASE)
    plain = home / "plain"
    plain.write_bytes(key.read_bytes())
    plain.chmod(0o600)
    run("ssh-keygen", "-q", "-p", "-P", PHRASE, "-N", "", "-f", str(plain))
    sshd.authorize(key)
    error = await refused(trusted(sshd, key=str(key)), KeyFileError)
    assert error.message == f"the key {key} for lab is encrypted, and no agent has it"
    assert error.hint == f"give it to one: `ssh-add {key}`"
    (home / "secret.pub").unlink()
    with ssh_agent(home, plain) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        assert await says(trusted(sshd, key=str(key))) == "hello"


async def test_a_key_that_is_missing_or_none_says_so(home: Path, sshd: PlainSshd) -> None:
    error = await refused(trusted(sshd, key="~/none"), KeyFileError)
    assert (
        error.message == f"the key {home}/none for lab could not be read: No such file or directory"
    )
    (home / "none").write_text("hello", encoding="utf-8")
    error = await refused(trusted(sshd, key="~/none"), KeyFileError)
    assert "is not a private key" in error.message


async def test_keys_that_are_not_accepted_are_named(home: Path, sshd: PlainSshd) -> None:
    key = make_key(home / "stranger")
    error = await refused(trusted(sshd, key=str(key)), AuthenticationError)
    assert f"rejected every key we offered for user {sshd.user}" in error.message
    assert f"tried {key}" in error.message
    assert "no ssh agent is running" in error.message


async def test_no_key_at_all_says_where_they_were_looked_for(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".ssh" / "id_ed25519").unlink()
    make_key(home / ".ssh" / "id_rsa", "rsa", PHRASE)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/none/agent")
    error = await refused(trusted(sshd, user="bob"), AuthenticationError)
    assert "there is no key to log in" in error.message
    assert "as user bob" in error.message
    assert "no ssh agent answers at /none/agent" in error.message
    assert "id_rsa is encrypted, and no agent has it" in error.message


async def test_nobody_is_asked_for_a_password(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = "PasswordAuthentication yes\nKbdInteractiveAuthentication yes\n"
    with plain_sshd(tmp_path / "asking", more=more) as server:
        configure(home, "PreferredAuthentications password,keyboard-interactive\n")
        await refused(trusted(server), AuthenticationError)
        assert "Failed password" not in server.log
    assert capfd.readouterr() == ("", "")


# --- ssh's configuration ---


async def test_ssh_configuration_says_where_and_who(home: Path, sshd: PlainSshd) -> None:
    (home / ".ssh" / "id_ed25519").rename(home / "key")
    know(home, sshd.known_line())
    (home / ".ssh" / "more").write_text(
        f"Host lab\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile ~/gone\n"
        f"Match originalhost lab\n IdentityFile {home}/key\n User {sshd.user}\n",
        encoding="utf-8",
    )
    configure(home, "Include more\nHost *\n Port 1\n User nobody\n")
    assert await says(host()) == "hello"


async def test_the_hosts_file_wins_over_ssh_configuration(home: Path, sshd: PlainSshd) -> None:
    configure(home, f"Host lab\n HostName 127.0.0.1\n Port 1\n User nobody\n IdentityFile {home}/x")
    lab = host(port=sshd.port, user=sshd.user, key="~/.ssh/id_ed25519")
    know(home, sshd.known_line())
    assert await says(lab) == "hello"


async def test_an_alias_is_looked_up_instead_of_the_name(home: Path, sshd: PlainSshd) -> None:
    configure(home, "HostKeyAlias box\n")
    know(home, f"box {sshd.public_key()}\n")
    assert await says(host(sshd)) == "hello"


async def test_a_command_can_be_the_way(home: Path, sshd: PlainSshd) -> None:
    pipe = (
        "import os,socket,sys,threading\n"
        f"s=socket.create_connection(('127.0.0.1',{sshd.port}))\n"
        "def up():\n"
        "    while d:=os.read(0,65536): s.sendall(d)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "assert sys.argv[1] == 'lab'\n"
        "print('to whom it may concern',file=sys.stderr)\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    (home / "pipe.py").write_text(pipe, encoding="utf-8")
    configure(home, f"Host lab\n ProxyCommand python3 {home}/pipe.py %h\n")
    assert await says(RemoteHost("lab", trusted(sshd).config.with_(address=None))) == "hello"


async def test_configuration_that_is_wrong_says_so(home: Path, sshd: PlainSshd) -> None:
    configure(home, "Port many\n")
    error = await refused(host(sshd), HostSettingsError)
    assert "ssh's configuration for lab is invalid" in error.message
    assert f"{home}/.ssh/config line 1: " in error.message
    assert "many" in error.message


async def test_nothing_in_common_says_so(home: Path, tmp_path: Path) -> None:
    configure(home, "Ciphers aes128-ctr\n")
    with plain_sshd(tmp_path / "other", more="Ciphers aes256-gcm@openssh.com") as server:
        error = await refused(trusted(server), HostSettingsError)
    assert "no algorithm in common" in error.message


async def test_the_fastest_cipher_is_taken_unless_ssh_configuration_has_another(
    home: Path, sshd: PlainSshd
) -> None:
    async with await connect(trusted(sshd)) as connection:
        assert connection.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"
        assert connection.get_extra_info("send_compression") == "none"
        near = connection.get_extra_info("socket")
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    configure(home, "Ciphers aes256-ctr\nCompression yes\n")
    async with await connect(trusted(sshd)) as connection:
        assert connection.get_extra_info("send_cipher") == "aes256-ctr"
        assert connection.get_extra_info("send_compression") == "none"


async def test_what_is_for_terminals_is_not_for_jobs(home: Path, sshd: PlainSshd) -> None:
    configure(
        home,
        "RemoteCommand echo no\nRequestTTY force\nSetEnv LANG=xx\nForwardAgent yes\n",
    )
    assert await says(trusted(sshd), 'tty || echo "$LANG:$SSH_AUTH_SOCK"') == "not a tty\n:"


# --- Jump hosts ---


async def test_a_jump_host_is_the_way(home: Path, sshd: PlainSshd, jump: PlainSshd) -> None:
    know(home, jump.known_line(), sshd.known_line())
    before = jump.log.count("Accepted publickey")
    assert await says(host(sshd, proxy_jump=f"127.0.0.1:{jump.port}")) == "hello"
    assert jump.log.count("Accepted publickey") == before + 1


async def test_jump_hosts_of_ssh_configuration_are_the_way(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, jump.known_line(), sshd.known_line())
    configure(
        home,
        f"Host first\n HostName 127.0.0.1\n Port {jump.port}\n"
        f"Host lab\n HostName 127.0.0.1\n Port {sshd.port}\n"
        f" ProxyJump first,{sshd.user}@127.0.0.1:{jump.port}\n",
    )
    before = jump.log.count("Accepted publickey")
    assert await says(host()) == "hello"
    assert jump.log.count("Accepted publickey") == before + 2


async def test_the_key_of_a_jump_host_is_checked(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, sshd.known_line())
    way = f"127.0.0.1:{jump.port}"
    error = await refused(trusted(sshd, proxy_jump=way), HostKeyError)
    assert error.message == (
        f"the jump host 127.0.0.1 of lab ({way}) offers the host key {jump.fingerprint()}, "
        "which is not in known_hosts"
    )
    assert "[hosts.lab]" not in str(error.hint)


async def test_a_jump_host_that_is_down_is_named(home: Path, sshd: PlainSshd) -> None:
    port = free_port()
    error = await refused(trusted(sshd, proxy_jump=f"127.0.0.1:{port}"), UnreachableHostError)
    assert (
        error.message == f"the jump host 127.0.0.1 of lab (127.0.0.1:{port}) refused the connection"
    )
    del home


async def test_a_host_that_its_jump_host_can_not_reach_says_so(home: Path, jump: PlainSshd) -> None:
    know(home, jump.known_line())
    lab = host(address="127.0.0.1", port=free_port(), proxy_jump=f"127.0.0.1:{jump.port}")
    error = await refused(lab, UnreachableHostError)
    assert "could not be reached from its jump host" in error.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Host *\n ProxyJump gate\n", "jumphost loop via gate"),
        (
            "Host lab gate\n ProxyJump other\nHost other\n ProxyJump gate\n",
            "the way to lab goes through other more than once",
        ),
    ],
)
async def test_jump_hosts_in_a_circle_are_refused(home: Path, text: str, sentence: str) -> None:
    configure(home, text)
    assert sentence in (await refused(host(), HostSettingsError)).message


async def test_a_closed_connection_closes_its_jump_host(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, jump.known_line(), sshd.known_line())
    way = f"127.0.0.1:{jump.port}"
    before = jump.log.count("Disconnected from user")
    async with await connect(host(sshd, proxy_jump=way)):
        assert jump.log.count("Disconnected from user") == before
    async with asyncio.timeout(10):
        while jump.log.count("Disconnected from user") == before:  # noqa: ASYNC110 - its log
            await asyncio.sleep(0.01)


# --- Nobody there, or somebody else ---


async def test_a_port_where_nobody_listens_refuses() -> None:
    port = free_port()
    error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert error.message == f"lab (127.0.0.1:{port}) refused the connection"
    error = await refused(host(address="localhost", port=port), UnreachableHostError)
    assert error.message == f"lab (localhost:{port}) refused the connection"


async def test_a_name_that_nobody_knows_can_not_be_resolved() -> None:
    error = await refused(host(address="nowhere.invalid"), UnreachableHostError)
    assert "the name of lab (nowhere.invalid:22) could not be resolved" in error.message


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
async def test_somebody_who_goes_at_once_is_no_ssh_server(answer: bytes) -> None:
    async with stranger(answer, stays=False) as port:
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert "is not an ssh server, or it ends connections at once" in error.message


async def test_an_ssh_server_that_goes_in_the_middle_is_unreachable() -> None:
    async with stranger(b"SSH-2.0-short\r\n", stays=False) as port:
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert "ended the connection before the login" in error.message


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-slow\r\n"])
async def test_a_server_that_stalls_is_given_up(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECS", 0.5)
    async with stranger(answer, stays=True) as port:
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert "was reached, but the login did not finish within 0.5 s" in error.message


async def test_a_host_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECS", 0.5)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (first, second):
            each.setblocking(False)  # noqa: FBT003 - it takes no keyword
            each.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert error.message == f"lab (127.0.0.1:{port}) was not reached within 0.5 s"


async def test_an_agent_that_stalls_is_given_up(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECS", 0.5)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "agent"))
        silent.listen()
        error = await refused(trusted(sshd), UnreachableHostError)
    assert "the ssh agent did not list its keys within 0.5 s" in error.message


async def test_a_connection_whose_far_end_falls_silent_is_lost(
    sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "KEEPALIVE_SECS", 0.1)
    async with asyncio.timeout(10), await connect(trusted(sshd)) as connection:
        pid = int(str((await connection.run("echo $PPID", check=True)).stdout))
        os.kill(pid, signal.SIGSTOP)
        try:
            await connection.wait_closed()
        finally:
            os.kill(pid, signal.SIGKILL)


async def test_a_jump_host_is_left_when_the_host_behind_it_fails(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, jump.known_line())
    gone = jump.log.count("Disconnected from user")
    await refused(host(sshd, proxy_jump=f"127.0.0.1:{jump.port}"), HostKeyError)
    async with asyncio.timeout(10):
        while jump.log.count("Disconnected from user") == gone:  # noqa: ASYNC110 - its log
            await asyncio.sleep(0.01)
