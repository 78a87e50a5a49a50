"""What ssh's own configuration has for a hop: `ssh -G`, the reference, is asked for it."""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import re
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import run
from jerichoci.remote.ssh.errors import HostSettingsError, SilentSettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.remote.ssh.hop import Hop

ANSWER_SECS = 15.0
"""For `ssh -G`, which runs what `Match exec` has and may ask the resolver."""
SYSTEM_FILE = "/etc/ssh/ssh_config"

_EXPANDED = re.compile(r"%(?P<token>.)|\$\{(?P<variable>\w+)\}")


class Configuration:
    """The answer of `ssh -G` for one hop."""

    def __init__(self, text: str, hop: Hop) -> None:
        self._lines = [line.partition(" ")[::2] for line in text.splitlines()]
        self._hop = hop

    def get(self, key: str) -> str | None:
        """The first value of a key in lower case; None for no value and for `none`."""
        return next((value for value in self._all(key) if value != "none"), None)

    def number(self, key: str) -> int:
        """The number of a key; 0 if it has none."""
        text = self.get(key) or ""
        return int(text) if text.isdecimal() else 0

    def is_on(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.get(key) in {"yes", "true"}

    def files(self, key: str) -> list[str]:
        """Paths that are given one a line."""
        return [self._path(value) for value in self._all(key) if value != "none"]

    def listed_files(self, key: str) -> list[str]:
        """Paths that are given on one line, a space between them and some in them."""
        words = (self.get(key) or "").split(" ")
        paths: list[str] = []
        while words:
            ends = range(len(words), 1, -1)
            joined = (" ".join(words[:end]) for end in ends)
            taken = next((text for text in joined if Path(self._path(text)).is_file()), words[0])
            words = words[len(taken.split(" ")) :]
            paths += [self._path(taken)] if taken and taken != "none" else []
        return paths

    @property
    def agent(self) -> str | None:
        """The socket of the agent with the keys, or None for no agent."""
        setting = next(iter(self._all("identityagent")), "SSH_AUTH_SOCK")
        if setting == "none":
            return None
        if setting == "SSH_AUTH_SOCK" or setting.startswith("$"):
            return os.environ.get(setting.strip("${}"))
        return self._path(setting)

    def expanded(self, text: str) -> str:
        """A text with the tokens of ssh_config(5) replaced; unknown ones are kept."""
        local = socket.gethostname()
        tokens = {
            "%": "%",
            "d": str(Path.home()),
            "h": self.get("hostname") or "",
            "i": str(os.getuid()),
            "k": self.get("hostkeyalias") or self._hop.address,
            "L": local.partition(".")[0],
            "l": local,
            "n": self._hop.address,
            "p": self.get("port") or "",
            "r": self.get("user") or "",
            "u": getpass.getuser(),
        }

        def value(found: re.Match[str]) -> str:
            name = found["variable"]
            known = os.environ.get(name) if name else tokens.get(found["token"])
            return found[0] if known is None else known

        return _EXPANDED.sub(value, text)

    def _all(self, key: str) -> list[str]:
        return [value for name, value in self._lines if name == key]

    def _path(self, text: str) -> str:
        # ssh takes the home of the password database, pikaci $HOME.
        path = Path(self.expanded(text)).expanduser()
        theirs = _recorded_home()
        if theirs == Path("/") or not path.is_relative_to(theirs):
            return str(path)
        return str(Path.home() / path.relative_to(theirs))


async def ask(hop: Hop) -> Configuration:
    """Ask ssh what its configuration has for a hop; what the hosts file has comes first."""
    if not shutil.which("ssh"):
        raise HostSettingsError(
            hop.host,
            f"there is no `ssh` on PATH to ask for the configuration of {hop.called}",
            "install OpenSSH's client: `openssh-client` on Debian",
        )
    known = {"Port": hop.config.port, "User": hop.config.user, "ProxyJump": hop.config.proxy_jump}
    options = [f"-o{key}={value}" for key, value in known.items() if value]
    try:
        with _our_files() as files:
            ended = await run(
                ["ssh", "-G", "-T", *files, *options, "--", hop.address], deadline_secs=ANSWER_SECS
            )
    except InfrastructureError as error:
        raise SilentSettingsError(
            hop.host,
            f"could not ask ssh for the configuration of {hop.called}: {error.message}",
            error.hint or "does a `Match exec` in it wait for something?",
        ) from error
    if ended.ok:
        return Configuration(ended.stdout.decode("utf-8", "replace"), hop)
    complaint = "; ".join(ended.stderr.decode("utf-8", "replace").splitlines())
    raise HostSettingsError(
        hop.host,
        f"ssh's configuration for {hop.called} is invalid: {complaint or 'ssh gives no reason'}",
        f"see what `ssh -G {hop.address}` prints",
    )


@contextmanager
def _our_files() -> Iterator[list[str]]:
    """Have ssh read the configuration in $HOME where the password database has another home."""
    home = Path.home()
    if home == _recorded_home():
        yield []
        return
    with tempfile.NamedTemporaryFile("w", prefix="pikaci-ssh-") as file:
        for path in (str(home / ".ssh" / "config"), SYSTEM_FILE):
            file.write(f'Include "{glob.escape(path)}"\n')
        file.flush()
        yield ["-F", file.name]


def _recorded_home() -> Path:
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # ssh reports it itself
        return Path.home()
