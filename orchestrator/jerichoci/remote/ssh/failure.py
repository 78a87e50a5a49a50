"""What to say when a hop can't be connected to."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
import socket
from dataclasses import dataclass
from errno import ECONNREFUSED
from typing import TYPE_CHECKING

import asyncssh

from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostError,
    HostKeyError,
    HostSettingsError,
    UnreachableHostError,
)
from jerichoci.remote.ssh.hop import endpoint
from jerichoci.remote.ssh.hostkeys import family_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.remote.ssh.handshake import Handshake
    from jerichoci.remote.ssh.hop import Hop
    from jerichoci.remote.ssh.keys import LoginKeys
    from jerichoci.remote.ssh.proxy import ProxyCommand
    from jerichoci.remote.ssh.settings import Settings


_PENALTY = "Not allowed at this time"
"""OpenSSH's, in place of its name, to who it has refused too often."""


@dataclass(frozen=True)
class Failure:
    """A hop that can't be connected to, and how far it came."""

    hop: Hop
    settings: Settings
    tries: Sequence[Handshake]
    keys: LoginKeys | None = None

    def told(self, error: Exception) -> HostError:
        """The error to raise for what asyncssh or the system raised."""
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return self._host_key(error)
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return HostSettingsError(
                self.hop.host,
                f"{self._where} and ssh here have nothing in common: {_text(error)}{self._strange}",
                "see `Ciphers`, `MACs`, `KexAlgorithms` and `HostKeyAlgorithms` on both ends",
            )
        if self._logs_in and not isinstance(error, (asyncssh.ConnectionLost, OSError)):
            return self._login(error)
        if isinstance(error, (OSError, asyncssh.Error)):
            return self._unreachable(error)
        return HostSettingsError(
            self.hop.host,
            f"{self._where} can't be connected to as ssh's configuration says: {error}",
            f"see what `ssh -G {self.hop.address}` says of it",
        )

    def of_deadline(self, secs: float) -> UnreachableHostError:
        """The error to raise when a hop took too long."""
        if not self.tries:
            return self._gone(
                f"the ssh agent didn't say in {secs:g} s which keys it has for {self._where}",
                "does it wait for somebody? `ssh-add -l` asks it the same",
            )
        if self._command:
            return self._by_command(f"is not there after {secs:g} s")
        if self._is_connected:
            return self._gone(
                f"{self._where} was reached, but had not let us in after {secs:g} s",
                "is something there that accepts connections and then stalls?",
            )
        return self._gone(
            f"{self._where} was not reached in {secs:g} s",
            "is it up, and does a firewall let us through?",
        )

    @property
    def _where(self) -> str:
        return f"{self.hop.called} ({endpoint(self.settings.address, self.settings.port)})"

    @property
    def _logs_in(self) -> bool:
        return bool(self.tries) and self.tries[-1].logs_in

    @property
    def _is_connected(self) -> bool:
        return bool(self.tries) and self.tries[-1].is_connected

    @property
    def _is_ssh(self) -> bool:
        return bool(self.tries) and self.tries[-1].is_ssh

    @property
    def _heard(self) -> str:
        text = self.tries[-1].heard.decode("utf-8", "replace") if self.tries else ""
        return " ".join("".join(filter(str.isprintable, text.partition("\n")[0])).split())

    @property
    def _command(self) -> ProxyCommand | None:
        """The command that was to lead to an ssh server, and didn't."""
        return self.tries[-1].command if self.tries and not self._is_ssh else None

    def _by_command(self, what: str) -> UnreachableHostError:
        command = self._command
        code = command.exit_code if command else None
        ended = "" if code is None else f" (exit code {code})"
        said = (command and command.said) or "it said nothing"
        line = command.line if command else ""
        return self._gone(
            f"{self._where} {what} by its ProxyCommand `{line}`{ended}: {said}",
            "does the command work by itself, with no terminal to ask on?",
        )

    def _gone(self, message: str, hint: str) -> UnreachableHostError:
        return UnreachableHostError(self.hop.host, message, hint)

    def _unreachable(self, error: OSError | asyncssh.Error) -> UnreachableHostError:
        if isinstance(error, asyncssh.ChannelOpenError):
            return self._gone(
                f"{self._where} can't be reached from the jump host before it: {error.reason}",
                "can the jump host reach it, and does it allow forwarding?",
            )
        if isinstance(error, socket.gaierror):
            return self._gone(
                f"the name of {self._where} can't be resolved: {error.strerror}",
                "set its `address` in the hosts file, or its `HostName` in ssh's configuration",
            )
        if _is_refused(error):
            return self._gone(
                f"{self._where} refuses connections",
                "does sshd run there, on that port?",
            )
        if not self._is_connected:
            return self._gone(
                f"{self._where} can't be reached: {_text(error)}",
                "is it up, and is there a route to it?",
            )
        if not self._is_ssh:
            return self._not_ssh()
        log = "what does sshd's log say there?"
        kinds = " `ssh-keygen -A` there makes host keys of all kinds" if self._strange else ""
        return self._gone(
            f"{self._where} ended the connection before we were let in: "
            f"{_text(error)}{self._strange}",
            f"{log}{kinds}",
        )

    def _not_ssh(self) -> UnreachableHostError:
        if self._command and not self._heard:
            return self._by_command("can't be reached")
        if self._heard.startswith(_PENALTY):
            return self._gone(
                f"sshd of {self._where} refuses us for now: it said `{self._heard}`",
                "logins from here were refused before (`PerSourcePenalties`): that passes by itself"
                " after some minutes",
            )
        said = f": it said `{self._heard}`" if self._heard else ""
        return self._gone(
            f"{self._where} is not an ssh server, or it ends connections at once{said}",
            "is the port right, and what does sshd's log say there?",
        )

    def _login(self, error: Exception) -> AuthenticationError:
        keys = self.keys
        tried = (
            ", ".join(
                f"{_fingerprint(pair)} from {origin}"
                for pair, origin in zip(keys.pairs, keys.origins, strict=True)
            )
            if keys
            else ""
        )
        remarks = "; ".join(keys.remarks) if keys else ""
        user = self.settings.user
        why = "" if isinstance(error, asyncssh.PermissionDenied) else f": {_text(error)}"
        if tried:
            message = f"{self._where} lets user {user} in with none of our keys{why} (tried {tried}"
            message += f"; {remarks})" if remarks else ")"
        else:
            message = f"there is no key to log in to {self._where} with as user {user} ({remarks})"
        return AuthenticationError(
            self.hop.host,
            message,
            f"add a public key to ~/.ssh/authorized_keys of {user} there, or name the right "
            "`user` and `key`",
        )

    def _host_key(self, error: asyncssh.HostKeyNotVerifiable) -> HostKeyError:
        refused = next((each for each in self.tries if each.refused), None)
        if refused is None or refused.refused is None:
            return HostKeyError(
                self.hop.host,
                f"the key of {self._where} is not valid: {_text(error)}",
                "find out why from whoever runs that host",
            )
        key = refused.refused
        offered = key.get_fingerprint()
        known = self.settings.host_keys.known(self.settings.address, self.settings.port)
        if self.settings.host_keys.fingerprint:
            return self._changed("the hosts file says", [self.settings.host_keys.fingerprint], key)
        if key in known.revoked:
            return HostKeyError(
                self.hop.host,
                f"{self._where} offers the key {offered}, which is revoked",
                "don't connect to it before you know why",
            )
        if refused.is_certified:
            return HostKeyError(
                self.hop.host,
                f"{self._where} offers a certificate of the authority {offered}, "
                "which nobody here knows",
                "ask whoever runs that host for its authority, then add a line with "
                "`@cert-authority` to known_hosts",
            )
        if known.own:
            alike = [each for each in known.own if each.algorithm == key.algorithm]
            expected = [each.get_fingerprint() for each in alike or known.own]
            return self._changed("known_hosts has", expected, key)
        return self._unknown(key)

    def _unknown(self, key: asyncssh.SSHKey) -> HostKeyError:
        asked = " (`KnownHostsCommand` is not asked)" if self.settings.has_keys_command else ""
        line = f"{self._name} {key.export_public_key().decode().strip()}"
        line = " ".join(line.split(" ")[:3])
        accept = f"run: echo '{line}' >> {self._file}"
        if self._strange:
            accept = f"{self._learn}, or {accept}"
        if not self.hop.is_jump:
            setting = f'fingerprint = "{key.get_fingerprint()}"'
            table = f"[hosts.{_toml(self.hop.host)}]"
            accept = f"set `{setting}` under {table} in hosts.toml, or {accept}"
        return HostKeyError(
            self.hop.host,
            f"{self._where} offers the key {key.get_fingerprint()}, which nobody here knows"
            f"{self._strange}{asked}",
            f"{_compare(key)}; if it is the same, {accept}",
        )

    def _changed(self, source: str, expected: Sequence[str], key: asyncssh.SSHKey) -> HostKeyError:
        mend = (
            f"change `fingerprint` under [hosts.{_toml(self.hop.host)}] in hosts.toml"
            if self.settings.host_keys.fingerprint
            else f"run `ssh-keygen -R '{self._name}' -f {self._file}`"
        )
        return HostKeyError(
            self.hop.host,
            f"{self._where} has another key than {source}: {' or '.join(expected)} expected, "
            f"{key.get_fingerprint()} offered",
            "find out why first, since somebody else may be answering: "
            f"{_compare(key)}; only if it was changed on purpose, {mend}",
        )

    @property
    def _strange(self) -> str:
        """What else is known of the host, and not by us."""
        host_keys, settings = self.settings.host_keys, self.settings
        kinds = " or ".join(host_keys.strange_kinds(settings.address, settings.port))
        return (
            f" (known_hosts has one of kind {kinds}, which pikaci does not know)" if kinds else ""
        )

    @property
    def _learn(self) -> str:
        """What has ssh, which knows the host by a key that we can't check, learn its others."""
        port = f" -p {self.hop.port}" if self.hop.port else ""
        user = f"{self.hop.user}@" if self.hop.user else ""
        return f"run: ssh -o UpdateHostKeys=yes{port} {user}{self.hop.address} true"

    @property
    def _name(self) -> str:
        return self.settings.host_keys.name(self.settings.address, self.settings.port)

    @property
    def _file(self) -> str:
        files = [name for name in self.settings.host_keys.files if name != os.devnull]
        return shlex.quote(next(iter(files), "known_hosts"))


def _fingerprint(pair: asyncssh.SSHKeyPair) -> str:
    digest = hashlib.sha256(pair.key_public_data).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _compare(key: asyncssh.SSHKey) -> str:
    family = family_of(key.get_algorithm())
    return f"compare it with `ssh-keygen -lf /etc/ssh/ssh_host_{family}_key.pub` on the host itself"


def _is_refused(error: Exception) -> bool:
    # Several addresses are tried, and what each of them said comes as one text.
    if isinstance(error, ConnectionRefusedError):
        return True
    codes = re.findall(r"\[Errno (\d+)\]", str(error))
    return bool(codes) and all(int(code) == ECONNREFUSED for code in codes)


def _toml(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _text(error: Exception) -> str:
    return " ".join((getattr(error, "reason", "") or str(error)).split())
