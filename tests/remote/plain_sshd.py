"""A real sshd on the loopback, with keys, users' files and an agent of its own."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KINDS = ("ed25519", "ecdsa", "rsa")
START_SECS = 10.0
STOP_SECS = 5.0

# Of an option that is given twice sshd takes the first.
_CONFIG = """\
{options}
ListenAddress {address}
Port {port}
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
"""


@dataclass(frozen=True)
class PlainSshd:
    """A running sshd; `directory` has its host keys, authorized_keys and log."""

    directory: Path
    port: int

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def public_key(self, kind: str = "ed25519") -> str:
        """Algorithm and key in base64, as known_hosts has them."""
        return public_key(self.directory / f"host_{kind}")

    def fingerprint(self, kind: str = "ed25519") -> str:
        return fingerprint(self.directory / f"host_{kind}")

    def known_line(self, kind: str = "ed25519") -> str:
        return f"[127.0.0.1]:{self.port} {self.public_key(kind)}\n"

    def authorize(self, key: Path) -> None:
        with (self.directory / "authorized_keys").open("a", encoding="utf-8") as file:
            file.write(f"{public_key(key)}\n")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)]
    bits = (
        ["-b", "2048"] if kind == "rsa" else []
    )  # fewer than usual: they take a third of the time
    subprocess.run([*argv, *bits], check=True, stdin=subprocess.DEVNULL)
    return path


def public_key(path: Path) -> str:
    return " ".join(Path(f"{path}.pub").read_text(encoding="utf-8").split()[:2])


def fingerprint(path: Path) -> str:
    argv = ["ssh-keygen", "-lf", f"{path}.pub"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def plain_sshd(
    directory: Path, *, kinds: tuple[str, ...] = ("ed25519",), more: str = ""
) -> Iterator[PlainSshd]:
    """An sshd with a host key of each kind; `more` are further lines of its configuration."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    assert sshd, "there is no sshd: install openssh-server"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "authorized_keys").touch()
    _make_separation_directory()
    port = free_port()
    config = write_config(
        directory, "127.0.0.1", port, kinds, ["MaxStartups 100", "LogLevel VERBOSE", more]
    )
    argv = [sshd, "-D", "-e", "-f", str(config)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        server = PlainSshd(directory, port)
        _await_port(process, server)
        yield server
    finally:
        process.terminate()
        process.wait(STOP_SECS)


def write_config(
    directory: Path, address: str, port: int, kinds: Iterable[str], options: Iterable[str]
) -> Path:
    """The configuration of an sshd, whose host keys are made where they are missing."""
    for kind in kinds:
        if not (directory / f"host_{kind}").exists():
            make_key(directory / f"host_{kind}", kind)
    said = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    has_penalties = found and (int(found[1]), int(found[2])) >= (9, 8)
    lines = [
        *options,
        *(f"HostKey {directory}/host_{kind}" for kind in kinds),
        # Any number of refused logins from one address.
        *(["PerSourcePenalties no"] if has_penalties else []),
    ]
    config = directory / "sshd_config"
    text = _CONFIG.format(options="\n".join(lines), address=address, port=port, directory=directory)
    config.write_text(text, encoding="utf-8")
    return config


@contextmanager
def ssh_agent(directory: Path, *keys: Path) -> Iterator[Path]:
    """The socket of an agent that holds `keys`, which have no passphrase."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECS
        while not _listens(path):
            assert time.monotonic() < deadline, "ssh-agent doesn't listen"
            time.sleep(0.01)
        for key in keys:
            add_key(path, key)
        yield path
    finally:
        process.terminate()
        process.wait(STOP_SECS)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:  # bound, and not listening yet
            return False
    return True


def add_key(agent: Path, key: Path) -> None:
    env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=env, stdin=subprocess.DEVNULL)


def _make_separation_directory() -> None:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _await_port(process: subprocess.Popen[bytes], server: PlainSshd) -> None:
    deadline = time.monotonic() + START_SECS
    while "Server listening" not in server.log:
        assert process.poll() is None, f"sshd ended: {server.log}"
        assert time.monotonic() < deadline, f"sshd doesn't listen: {server.log}"
        time.sleep(0.01)
