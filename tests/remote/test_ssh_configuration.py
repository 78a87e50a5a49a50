"""Hosts are reached as `ssh -G` says, whatever ssh's configuration has and however it has it."""

from __future__ import annotations

import base64
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project
from jerichoci.exit_codes import EXIT_INFRASTRUCTURE
from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostKeyError,
    HostSettingsError,
    KeyFileError,
    UnreachableHostError,
)
from jerichoci.remote.ssh.hop import Hop
from jerichoci.remote.ssh.settings import Settings, read_settings
from pikaci.__main__ import run as pikaci
from remote.connecting import (
    configure,
    far,
    host,
    know,
    refused,
    run,
    says,
    stranger,
    trusted,
)
from remote.plain_sshd import (
    PlainSshd,
    free_port,
    make_key,
    plain_sshd,
    public_key,
    ssh_agent,
)

if TYPE_CHECKING:
    from pathlib import Path

STRANGE = "ssh-mldsa44-ed25519"
pytestmark = pytest.mark.usefixtures("home")


async def settings_of(home: Path, text: str, **config: object) -> Settings:
    configure(home, text)
    return await read_settings(Hop.to(far(**config)))


def ssh_says(home: Path) -> subprocess.CompletedProcess[str]:
    argv = ["ssh", "-G", "-T", "-F", str(home / ".ssh" / "config"), "far"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


# --- As `ssh -G` says ---


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Host work # not like far\n Port 1\nHost far\n HostName 127.0.0.1\n Port 2\n",
        "Host far\n HostName 127.0.0.1 # the lab\n Port 2\n",
        "Match all # TOOL SETUP\n Compression no\nHost far\n HostName 127.0.0.1\n Port 2\n",
        "Match localnetwork 10.0.0.0/8\n Compression no\nHost far\n Port 2\n",
        "Match final all\n Port 3\n User late\nHost far\n HostName %h.example\n",
        "Match final host *.example\n User late\nHost far\n HostName %h.example\n",
        'Match exec "test %n = far"\n Port 4\n',
        'Match exec "exit 1"\n Port 4\nHost *\n Port 5\n',
        "Match originalhost far user bob\n Port 6\n",
        "Match !host far\n Port 6\nHost * !far\n Port 7\nHost f?r\n Port 8\n",
        'Host "far" other\n User "bob"\n HostName "10.0.0.1"\n',
        "Host=far\n\tHostName=10.0.0.1\n  port = 9\n",
        "host FAR\n port 1\nHOST far\n PORT 10\n",
        "Host far\n Port 11\n Port 12\nHost *\n Port 13\n",
        "Host far\n HostName ::1\n AddressFamily inet6\n ConnectTimeout 1m\n",
        "Host far\n HostKeyAlias box # the alias\n ProxyJump me@gate:24,[::1]:25 # two\n",
        "Host far\n ProxyJump none\nHost *\n ProxyJump gate\n",
        "Host far\n ProxyCommand none\nHost *\n ProxyCommand nc gate\n",
        "Host far\n ProxyCommand nc -X 5 gate 1 # all of it\n ProxyJump gate\n",
        "Include more # and more\nInclude nothing-*\n",
        'Include "~/.ssh/more"\n',
        "IgnoreUnknown Mine,UseKeychain\nMine yes\nUseKeychain yes\nPort 14\n",
        "Host far\n Prot 1\n",
        "Host far\n Port many\n",
        "Host far\n HostName 'half\n",
        "Host far\n UserKnownHostsFile\n",
    ],
)
async def test_a_host_is_where_ssh_says_it_is(home: Path, text: str) -> None:
    (home / ".ssh" / "more").write_text("Host far\n Port 15\n User included # here\n")
    configure(home, text)
    said = ssh_says(home)
    if said.returncode:
        error = await refused(far(), HostSettingsError)
        assert said.stderr.splitlines()[0].strip() in error.message
        return
    lines = (line.split(" ", 1) for line in said.stdout.splitlines() if " " in line)
    answer = {key: value for key, value in lines if value != "none"}
    settings = await read_settings(Hop.to(far()))
    assert settings.address == answer["hostname"]
    assert settings.port == int(answer["port"])
    assert settings.user == answer["user"]
    assert settings.jump == answer.get("proxyjump")
    assert settings.command == answer.get("proxycommand")
    assert settings.known_hosts.alias == answer.get("hostkeyalias")
    assert settings.config.number("connecttimeout") == int(answer.get("connecttimeout", "0"))


async def test_what_the_hosts_file_says_counts_for_match_and_tokens(home: Path) -> None:
    text = "Match user bob\n UserKnownHostsFile ~/%n.%h.%p.%r\nHost far\n HostName 10.0.0.1\n"
    settings = await settings_of(home, text, user="bob", port=24)
    assert (settings.address, settings.port, settings.user) == ("10.0.0.1", 24, "bob")
    assert settings.known_hosts.files[0] == f"{home}/far.10.0.0.1.24.bob"


async def test_tokens_variables_and_blanks_in_paths(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB", "lab")
    (home / "a b").touch()
    settings = await settings_of(
        home,
        'UserKnownHostsFile ~/x.%h "~/a b" ~/c\nGlobalKnownHostsFile none\n'
        'IdentityFile "~/key of %n"\nIdentityFile ~/${LAB}_%%\nIdentityAgent $AGENT\n'
        "CertificateFile %d/cert.%r\nUser bob\nIdentitiesOnly yes\n",
    )
    assert settings.known_hosts.files == [f"{home}/x.far", f"{home}/a b", f"{home}/c"]
    assert settings.config.files("identityfile") == [f"{home}/key of far", f"{home}/lab_%"]
    assert settings.config.files("certificatefile") == [f"{home}/cert.bob"]
    assert settings.config.agent is None
    assert settings.config.is_on("identitiesonly")


async def test_which_agent_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual")
    monkeypatch.setenv("OTHER_SOCK", "/other")
    for text, path in {
        "": "/usual",
        "IdentityAgent SSH_AUTH_SOCK\n": "/usual",
        "IdentityAgent $OTHER_SOCK\n": "/other",
        "IdentityAgent ${OTHER_SOCK}\n": "/other",
        "IdentityAgent none\n": None,
        "IdentityAgent ~/%n\n": f"{home}/far",
    }.items():
        assert (await settings_of(home, text)).config.agent == path, text


async def test_the_usual_files_are_in_the_home(home: Path) -> None:
    settings = await settings_of(home, "")
    assert f"{home}/.ssh/id_ed25519" in settings.config.files("identityfile")
    assert settings.known_hosts.files[:2] == [
        f"{home}/.ssh/known_hosts",
        f"{home}/.ssh/known_hosts2",
    ]
    assert (await settings_of(home, "IdentityFile none\n")).config.files("identityfile") == []


async def test_chosen_algorithms_are_those_that_both_have(home: Path) -> None:
    settings = await settings_of(
        home,
        "Ciphers aes256-ctr,aes128-ctr\nMACs hmac-sha2-512\nKexAlgorithms curve25519-sha256\n"
        "HostKeyAlgorithms ssh-ed25519\nPubkeyAcceptedAlgorithms ^ssh-rsa\n",
    )
    assert settings.options["encryption_algs"] == ["aes256-ctr", "aes128-ctr"]
    assert settings.options["mac_algs"] == ["hmac-sha2-512"]
    assert settings.options["kex_algs"] == ["curve25519-sha256"]
    assert settings.options["server_host_key_algs"] == ["ssh-ed25519"]
    assert settings.options["signature_algs"][0] == "ssh-rsa"
    settings = await settings_of(home, "Ciphers +aes128-cbc\nMACs -umac-*\n")
    assert settings.options["encryption_algs"][-1] == "aes128-cbc"
    assert "umac-64@openssh.com" not in settings.options["mac_algs"]


async def test_algorithms_of_which_we_have_none_are_refused_by_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {"KexAlgorithms": ("kex_algs", lambda: [b"curve25519-sha256"])}
    monkeypatch.setattr("jerichoci.remote.ssh.settings._ALGORITHMS", choices)
    configure(home, "KexAlgorithms ecdh-sha2-nistp256\n")
    error = await refused(far(), HostSettingsError)
    assert "has `KexAlgorithms ecdh-sha2-nistp256`, and pikaci supports none" in error.message
    assert error.hint == "allow one of curve25519-sha256"


def test_a_configuration_that_hangs_is_read_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.remote.ssh.configuration.ANSWER_SECS", 0.5)
    (home / "hosts.toml").write_text("[hosts.far]\n")
    configure(home, f'Match exec "echo >>{home}/asked; sleep 60"\n')
    there = 'placement = "remote_ssh"; host = "far"; retries.infrastructure = 2;'
    project = Project.committed(tmp_path, f't.jobs.j = {{ command = "true"; {there} }};')
    project = project.with_env(HOME=str(home), PIKACI_HOSTS_FILE=str(home / "hosts.toml"))
    said = project.here("run", "t").refused(EXIT_INFRASTRUCTURE)
    assert "`ssh -G -T` did not end within 0.5 s; does a `Match exec` in it wait" in said
    assert (home / "asked").read_text() == "\n"
    assert project.run_ids() == []


@pytest.mark.parametrize(
    "line",
    [
        "RevokedHostKeys ~/krl",
        "BindInterface lo",
        "PubkeyAuthentication no",
        "PreferredAuthentications keyboard-interactive,password",
    ],
)
async def test_what_can_not_be_done_is_refused_by_name(home: Path, line: str) -> None:
    configure(home, f"{line}\n")
    error = await refused(far(), HostSettingsError)
    assert f"has `{line}`, " in error.message


@pytest.mark.parametrize(
    "line",
    ["PubkeyAuthentication unbound", "PreferredAuthentications password,publickey"],
)
async def test_a_key_is_used_where_it_may_be(home: Path, sshd: PlainSshd, line: str) -> None:
    configure(home, f"{line}\n")
    assert await says(trusted(sshd)) == "hello"


async def test_without_ssh_it_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    error = await refused(far(), HostSettingsError)
    assert error.message == "there is no `ssh` on PATH to ask for the configuration of far"


def test_the_command_line_goes_where_ssh_goes(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("PIKACI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    (home / "config" / "pikaci").mkdir(parents=True)
    (home / "config" / "pikaci" / "hosts.toml").write_text("[hosts.far]\n")
    port = free_port()
    configure(
        home,
        "Host work # not like far\n Port 1\nMatch all # TOOL SETUP\n Compression no\n"
        f"Host far\n HostName 127.0.0.1 # the lab\n Port {port}\n",
    )
    monkeypatch.chdir(home)
    pikaci(["doctor", "--host", "far"])
    said = capfd.readouterr()
    assert f"far (127.0.0.1:{port}) refused the connection" in said.out + said.err


# --- With a server ---


async def test_a_server_is_found_and_trusted_by_tokens(home: Path, sshd: PlainSshd) -> None:
    (home / "known.far").write_text(sshd.known_line())
    (home / ".ssh" / "id_ed25519").rename(home / "key for far")
    configure(
        home,
        f"Host far # here\n HostName 127.0.0.1 # lo\n Port {sshd.port}\n ConnectTimeout 1m\n"
        ' UserKnownHostsFile ~/known.%n\n IdentityFile "~/key for %n"\n'
        " CertificateFile ~/gone\n IdentityFile ~/gone\n",
    )
    assert await says(far()) == "hello"


async def test_a_certificate_goes_with_a_file_or_the_agents_key(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_key(tmp_path / "authority")
    user = make_key(tmp_path / "user")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "it", "-n", "it"]
    run(*sign, f"{user}.pub")
    (tmp_path / "user-cert.pub").rename(tmp_path / "cert")
    more = f"TrustedUserCAKeys {authority}.pub\nAuthorizedPrincipalsFile {tmp_path}/names"
    (tmp_path / "names").write_text("it\n")
    with plain_sshd(tmp_path / "certified", more=more) as server:
        configure(home, f"CertificateFile {tmp_path}/cert\nIdentityFile {user}\n")
        assert await says(trusted(server)) == "hello"
        with ssh_agent(home, user) as agent:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            user.unlink()
            assert await says(trusted(server)) == "hello"


async def test_the_agents_key_that_is_named_comes_before_its_others(
    home: Path, sshd: PlainSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_key(home / f"other{number}") for number in range(7)]
    login = home / ".ssh" / "id_ed25519"
    with ssh_agent(home, *others, login) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        login.unlink()
        configure(home, "IdentityFile ~/.ssh/id_ed25519\n")
        assert await says(trusted(sshd)) == "hello"


# --- Keys of kinds that are too new ---


async def test_a_server_that_has_only_the_known_key_is_told_with_its_kind(home: Path) -> None:
    async with stranger(b"SSH-2.0-new\r\n", stays=False) as port:
        know(home, f"[127.0.0.1]:{port} {make_strange_key(home / 'host')}\n")
        error = await refused(host(address="127.0.0.1", port=port), UnreachableHostError)
    assert f"known_hosts has one of kind {STRANGE}" in error.message
    assert "ssh-keygen -A" in str(error.hint)


def packed(*texts: bytes) -> bytes:
    return b"".join(len(text).to_bytes(4) + text for text in texts)


def make_strange_key(path: Path) -> str:
    """A key pair as OpenSSH 10.6 makes it, as far as its kind; the public one's words."""
    public = packed(STRANGE.encode(), b"k" * 1344)
    head = b"openssh-key-v1\0" + packed(b"none", b"none", b"") + (1).to_bytes(4)
    text = base64.encodebytes(head + packed(public, b"s" * 1600)).decode()
    what = "OPENSSH PRIVATE KEY-----"
    path.write_text(f"-----BEGIN {what}\n{text}-----END {what}\n")
    path.chmod(0o600)
    return f"{STRANGE} {base64.b64encode(public).decode()}"


@pytest.mark.parametrize("has_public", [True, False])
async def test_a_key_of_a_kind_that_is_too_new_is_named(
    home: Path, sshd: PlainSshd, *, has_public: bool
) -> None:
    words = make_strange_key(home / "key")
    if has_public:
        (home / "key.pub").write_text(f"{words} me\n")
    error = await refused(trusted(sshd, key=str(home / "key")), KeyFileError)
    assert f"{home}/key for lab is of kind {STRANGE}" in error.message
    assert "ssh-keygen -t ed25519" in str(error.hint)
    configure(home, "IdentityFile ~/key\n")
    error = await refused(trusted(sshd), AuthenticationError)
    assert f"{home}/key is of kind {STRANGE}" in error.message
    configure(home, "IdentityFile ~/key\nIdentityFile ~/.ssh/id_ed25519\n")
    assert await says(trusted(sshd)) == "hello"


@pytest.mark.parametrize("is_hashed", [False, True])
async def test_a_known_key_of_a_kind_that_is_too_new_is_named(
    home: Path, sshd: PlainSshd, *, is_hashed: bool
) -> None:
    name = f"[127.0.0.1]:{sshd.port}"
    if is_hashed:
        know(home, sshd.known_line())
        run("ssh-keygen", "-q", "-H", "-f", str(home / ".ssh" / "known_hosts"))
        name = (home / ".ssh" / "known_hosts").read_text().split()[0]
    words = make_strange_key(home / "host")
    other = public_key(make_key(home / "other"))
    know(home, f"{name} {words}\n", f"other {other}\n")
    error = await refused(host(sshd), HostKeyError)
    assert f"known_hosts has one of kind {STRANGE}, which pikaci does not know" in error.message
    assert f"ssh -o UpdateHostKeys=yes -p {sshd.port} 127.0.0.1 true" in str(error.hint)
    know(home, f"other {words}\n")
    assert STRANGE not in (await refused(host(sshd), HostKeyError)).message
    know(home, f"{name} {words}\n", sshd.known_line())
    assert await says(host(sshd)) == "hello"
