"""Connections to a real sshd: who is let in, who is refused, and what is said then."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import NameList, UInt32

from jerichoci.remote.ssh import connection, settings
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostKeyError,
    HostSettingsError,
    KeyFileError,
    UnreachableHostError,
)
from jerichoci.remote.ssh.foreground import run_in_foreground
from remote.connecting import (
    configure,
    host,
    know,
    refused,
    run,
    says,
    stranger,
    trusted,
)
from remote.plain_sshd import (
    KINDS,
    PlainSshd,
    fingerprint,
    free_port,
    make_key,
    plain_sshd,
    public_key,
    ssh_agent,
)

PHRASE = "swordfish"
ACCEPTED, DISCONNECTED = "Accepted publickey", "Disconnected from user"
OTHER = "SHA256:" + "a" * 43
WAIT_SECS = 60
pytestmark = pytest.mark.usefixtures("home")


# --- Host keys ---


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_any_kind_is_trusted(home: Path, sshd: PlainSshd, kind: str) -> None:
    know(home, sshd.known_line(kind))
    assert await says(host(sshd)) == "hello"
    # With a fingerprint, known_hosts doesn't matter.
    know(home, f"[127.0.0.1]:{sshd.port} {public_key(make_key(home / 'other'))}\n")
    assert await says(host(sshd, fingerprint=sshd.fingerprint(kind))) == "hello"
    error = await refused(host(sshd, fingerprint=OTHER), HostKeyError)
    assert f"expected {OTHER}, got {sshd.fingerprint()}" in error.message
    assert "ssh-keygen -R" not in str(error.hint)


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


@pytest.mark.parametrize(
    ("known", "configuration", "config"),
    [
        ("127.0.0.1 {other}\n", "", {}),
        ("[127.0.0.1]:{port} {key}\n", "", {"address": "localhost"}),
        ("", "StrictHostKeyChecking no\nUserKnownHostsFile none\n", {}),
        ("", "UserKnownHostsFile /dev/null\nGlobalKnownHostsFile none\n", {}),
    ],
    ids=["another-port", "an-address", "unchecked", "no-files"],
)
async def test_nothing_else_vouches_for_a_key(
    home: Path, sshd: PlainSshd, known: str, configuration: str, config: dict[str, object]
) -> None:
    other = public_key(make_key(home / "other"))
    know(home, known.format(other=other, port=sshd.port, key=sshd.public_key()))
    configure(home, configuration)
    error = await refused(host(sshd, **config), HostKeyError)
    assert "is not in known_hosts" in error.message


async def test_a_revoked_key_is_refused(home: Path, sshd: PlainSshd) -> None:
    know(home, sshd.known_line(), f"@revoked * {sshd.public_key()}\n")
    assert "revoked" in (await refused(host(sshd), HostKeyError)).message


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


@pytest.mark.parametrize("is_configured", [False, True])
async def test_a_key_in_an_agent_is_used(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch, *, is_configured: bool
) -> None:
    (home / ".ssh" / "id_ed25519").unlink()
    with ssh_agent(home, sshd.directory / "login") as agent:
        if is_configured:
            configure(home, "IdentityAgent ~/agent\n")
        else:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
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


async def test_a_key_that_ssh_configuration_excludes_is_not_offered(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, "PubkeyAcceptedAlgorithms rsa-sha2-512\n")
    login = home / ".ssh" / "id_ed25519"
    error = await refused(trusted(sshd), AuthenticationError)
    assert "there is no key to log in" in error.message
    assert f"{login} is of no kind that `PubkeyAcceptedAlgorithms` allows" in error.message
    with ssh_agent(home, login) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        error = await refused(trusted(sshd), AuthenticationError)
    assert "the agent's login is of no kind that `Pubkey" in error.message
    other = make_key(home / ".ssh" / "id_rsa", "rsa")
    error = await refused(trusted(sshd), AuthenticationError)
    assert f"rejected every key we offered for user {sshd.user} (tried {other}; " in error.message


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
        configure(home, "PreferredAuthentications password,keyboard-interactive,publickey\n")
        await refused(trusted(server), AuthenticationError)
        assert "Failed password" not in server.log
    assert capfd.readouterr() == ("", "")


# --- ssh's configuration ---


async def test_the_hosts_file_wins_over_ssh_configuration(home: Path, sshd: PlainSshd) -> None:
    configure(home, f"Host lab\n HostName 127.0.0.1\n Port 1\n User nobody\n IdentityFile {home}/x")
    lab = host(port=sshd.port, user=sshd.user, key="~/.ssh/id_ed25519")
    know(home, sshd.known_line())
    assert await says(lab) == "hello"


async def test_an_alias_is_looked_up_instead_of_the_name(home: Path, sshd: PlainSshd) -> None:
    configure(home, "HostKeyAlias box\n")
    know(home, f"box {sshd.public_key()}\n")
    assert await says(host(sshd)) == "hello"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Ciphers aes128-ctr", "Ciphers aes256-gcm@openssh.com"),
        ("KexAlgorithms ecdh-sha2-nistp256", "KexAlgorithms curve25519-sha256"),
        ("MACs hmac-sha2-256\nCiphers aes128-ctr", "MACs hmac-sha2-512\nCiphers aes128-ctr"),
        ("HostKeyAlgorithms rsa-sha2-512", "HostKeyAlgorithms ssh-ed25519"),
        ("HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", "HostKeyAlgorithms ssh-ed25519"),
    ],
)
async def test_nothing_in_common_says_so(
    home: Path, tmp_path: Path, ours: str, theirs: str
) -> None:
    configure(home, f"{ours}\n")
    with plain_sshd(tmp_path / "other", more=theirs) as server:
        for lab in (host(server), trusted(server)):
            error = await refused(lab, HostSettingsError)
            assert "no algorithm in common" in error.message
            for line in (ours, theirs):
                assert line.split()[1] in error.message


async def test_nothing_in_common_says_so_where_the_far_end_hangs_up_first() -> None:
    lists = ["curve25519-sha256", "ssh-ed25519", *["aes256-cbc"] * 2, *["hmac-sha2-256"] * 2]
    names = b"".join(NameList([name.encode()]) for name in (*lists, "none", "none", "", ""))
    payload = b"\x14" + bytes(16) + names + bytes(5)
    padding = 16 - (len(payload) + 5) % 8
    packet = UInt32(1 + len(payload) + padding) + bytes([padding]) + payload + bytes(padding)
    async with stranger(b"SSH-2.0-other\r\n" + packet, stays=False) as port:
        error = await refused(host(address="127.0.0.1", port=port), HostSettingsError)
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


async def test_a_program_gets_what_is_typed_also_where_stdin_does_not_block(
    sshd: PlainSshd, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    before = os.dup(0)
    os.dup2(reader, 0)
    try:
        async with asyncio.timeout(WAIT_SECS), await connect(trusted(sshd)) as connection:
            typing = asyncio.create_task(
                run_in_foreground(connection, ["cat"], cwd=tmp_path, env={})
            )
            await asyncio.sleep(0.5)
            os.write(writer, b"typed\n")
            os.close(writer)
            assert await typing == 0
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reader)
    assert capfd.readouterr().out == "typed\n"


# --- Jump hosts ---


async def test_a_jump_host_is_the_way_and_closed_with_the_connection(
    home: Path, sshd: PlainSshd, jump: PlainSshd
) -> None:
    know(home, jump.known_line(), sshd.known_line())
    came, gone = (jump.log.count(text) for text in (ACCEPTED, DISCONNECTED))
    async with await connect(host(sshd, proxy_jump=f"127.0.0.1:{jump.port}")):
        assert jump.log.count(ACCEPTED) == came + 1
    await until_gone(jump, gone)


async def until_gone(server: PlainSshd, before: int) -> None:
    async with asyncio.timeout(60):
        while server.log.count(DISCONNECTED) == before:  # noqa: ASYNC110 - its log
            await asyncio.sleep(0.01)


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
    before = jump.log.count(ACCEPTED)
    assert await says(host()) == "hello"
    assert jump.log.count(ACCEPTED) == before + 2


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


# --- Nobody there, or somebody else ---


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
async def test_a_port_where_nobody_listens_refuses(address: str) -> None:
    port = free_port()
    error = await refused(host(address=address, port=port), UnreachableHostError)
    assert error.message == f"lab ({address}:{port}) refused the connection"


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"", "is not an ssh server, or it ends connections at once"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "at once: it sent `HTTP/1.0 400 Bad Request`"),
        (b"Exceeded MaxStartups\r\n", "at once: it sent `Exceeded MaxStartups`"),
        (b"Not allowed at this time\r\n", "us for now: it sent `Not allowed at this time`"),
        (b"SSH-2.0-short\r\n", "ended the connection before the login"),
    ],
)
async def test_a_server_that_ends_the_connection(sent: bytes, sentence: str) -> None:
    async with stranger(sent, stays=False) as port:
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert sentence in error.message
    assert ("PerSourcePenalties" in str(error.hint)) == sent.startswith(b"Not allowed")


async def test_a_name_that_nobody_knows_can_not_be_resolved() -> None:
    error = await refused(host(address="nowhere.invalid"), UnreachableHostError)
    assert "the name of lab (nowhere.invalid:22) could not be resolved" in error.message


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"", "was reached, but the login did not finish within 0.5 s"),
        (b"SSH-2.0-slow\r\n", "was reached, but the login did not finish within 0.5 s"),
        (b"220 mail\r\n", "is not an ssh server, or it ends connections at once: it sent `220 m"),
    ],
)
async def test_a_server_that_stalls_is_given_up(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, sentence: str
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECS", 0.5)
    async with stranger(sent, stays=True) as port:
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert sentence in error.message


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
    gone = jump.log.count(DISCONNECTED)
    await refused(host(sshd, proxy_jump=f"127.0.0.1:{jump.port}"), HostKeyError)
    await until_gone(jump, gone)


async def test_a_channel_that_is_opened_while_the_connection_ends_is_refused(
    sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end_of_opening(piece: int) -> str:
        """What is told when the connection ends just before that piece of what comes."""
        ending = await connect(trusted(sshd))
        receive = ending.data_received
        pieces = itertools.count(1)

        def receive_last(data: bytes) -> None:
            if next(pieces) == piece:
                ending.abort()
            receive(data)

        monkeypatch.setattr(ending, "data_received", receive_last)
        try:
            await opened(ending.create_process("cat"))
        except (OSError, asyncssh.Error) as error:
            return str(error)
        ending.abort()
        return "it was opened"

    async with asyncio.timeout(WAIT_SECS):
        ends = [await end_of_opening(piece) for piece in range(1, 6)]
    assert ends[-1] == "it was opened"
    assert "the connection was closed" in ends
