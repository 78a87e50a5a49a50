"""What to say when a hop can't be connected to."""

from __future__ import annotations

import os
import re
import shlex
import socket
from errno import ECONNREFUSED
from typing import TYPE_CHECKING

import asyncssh

from jerichoci.machine.ending import in_words
from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostError,
    HostKeyError,
    HostSettingsError,
    UnreachableHostError,
)
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.remote.ssh.client import Client
    from jerichoci.remote.ssh.hop import Hop
    from jerichoci.remote.ssh.keys import LoginKeys
    from jerichoci.remote.ssh.proxy import ProxyCommand
    from jerichoci.remote.ssh.settings import Settings

_PENALTY = "Not allowed at this time"
"""OpenSSH sends it in place of its name to clients that it has refused too often."""


@dataclass
class Failure:
    """Why a hop can't be connected to, by how far its client came."""

    hop: Hop
    settings: Settings
    client: Client
    keys: LoginKeys | None = None

    def error_of(self, error: Exception) -> HostError:
        """The error to raise for an error of asyncssh's or the system's."""
        match error:
            case asyncssh.HostKeyNotVerifiable():
                return self._host_key(error)
            case asyncssh.KeyExchangeFailed():
                return HostSettingsError(
                    self.hop.host,
                    f"{self._where} and pikaci have no algorithm in common: {_text(error)}"
                    f"{self._strange}",
                    "see `Ciphers`, `MACs`, `KexAlgorithms` and `HostKeyAlgorithms` on both ends",
                )
            case asyncssh.ChannelOpenError():
                return self._unreachable(
                    f"{self._where} could not be reached from its jump host: {error.reason}",
                    "can the jump host reach it, and does it allow forwarding?",
                )
            case _ if self.client.logs_in and not isinstance(
                error, (asyncssh.ConnectionLost, OSError)
            ):
                return self._login(error)
            case OSError() | asyncssh.Error():
                return self._connection(error)
            case _:
                return HostSettingsError(
                    self.hop.host,
                    f"could not connect to {self._where} as ssh's configuration says: {error}",
                    f"see what `ssh -G {self.hop.address}` prints",
                )

    def late(self, secs: float) -> UnreachableHostError:
        """The error to raise when a hop took too long."""
        if not self.client.has_begun:
            return self._unreachable(
                f"the ssh agent did not list its keys within {secs:g} s, for {self._where}",
                "does it wait for input? `ssh-add -l` asks it the same",
            )
        if command := self._command:
            return self._by_command(command, f"was not reached within {secs:g} s")
        if self.client.banner and not self.client.is_ssh:
            return self._no_server()
        if self.client.is_connected:
            return self._unreachable(
                f"{self._where} was reached, but the login did not finish within {secs:g} s",
                "does something there accept connections and then stall?",
            )
        return self._unreachable(
            f"{self._where} was not reached within {secs:g} s",
            "is it up, and does a firewall drop our packets?",
        )

    @property
    def _where(self) -> str:
        return f"{self.hop.called} ({self.settings.endpoint})"

    @property
    def _command(self) -> ProxyCommand | None:
        """The ProxyCommand, if it led to no ssh server."""
        return None if self.client.is_ssh else self.client.command

    def _unreachable(self, message: str, hint: str) -> UnreachableHostError:
        return UnreachableHostError(self.hop.host, message, hint)

    def _by_command(self, command: ProxyCommand, what: str) -> UnreachableHostError:
        code = command.exit_code
        ended = "" if code is None else f" (it {in_words(code)})"
        banner = self.client.banner
        said = [f"it sent `{banner}`"] * bool(banner) + [command.stderr] * bool(command.stderr)
        return self._unreachable(
            f"{self._where} {what} by its ProxyCommand `{command.line}`{ended}: "
            f"{'; '.join(said) or 'it printed nothing'}",
            "does the command work by itself, without a terminal to ask on?",
        )

    def _connection(self, error: OSError | asyncssh.Error) -> UnreachableHostError:
        if isinstance(error, socket.gaierror):
            return self._unreachable(
                f"the name of {self._where} could not be resolved: {error.strerror}",
                "set its `address` in the hosts file, or its `HostName` in ssh's configuration",
            )
        if _is_refused(error):
            return self._unreachable(
                f"{self._where} refused the connection", "does sshd run there, on that port?"
            )
        if not self.client.is_connected:
            return self._unreachable(
                f"{self._where} could not be reached: {_text(error)}",
                "is it up, and is there a route to it?",
            )
        if not self.client.is_ssh:
            return self._no_server()
        kinds = " `ssh-keygen -A` there makes host keys of all kinds" if self._strange else ""
        return self._unreachable(
            f"{self._where} ended the connection before the login: {_text(error)}{self._strange}",
            f"what does sshd's log say there?{kinds}",
        )

    def _no_server(self) -> UnreachableHostError:
        banner = self.client.banner
        if banner.startswith(_PENALTY):
            return self._unreachable(
                f"sshd of {self._where} refuses us for now: it sent `{banner}`",
                "it refused logins from here before (`PerSourcePenalties`); this passes by itself"
                " after some minutes",
            )
        if command := self._command:
            return self._by_command(command, "could not be reached")
        sent = f": it sent `{banner}`" if banner else ""
        return self._unreachable(
            f"{self._where} is not an ssh server, or it ends connections at once{sent}",
            "is the port right, and what does sshd's log say there?",
        )

    def _login(self, error: Exception) -> AuthenticationError:
        user = self.settings.user
        names = self.keys.names if self.keys else []
        remarks = self.keys.remarks if self.keys else []
        why = "" if isinstance(error, asyncssh.PermissionDenied) else f": {_text(error)}"
        if names:
            details = "; ".join([f"tried {', '.join(names)}", *remarks])
            message = f"{self._where} rejected every key we offered for user {user}{why}"
        else:
            details = "; ".join(remarks)
            message = f"there is no key to log in to {self._where} with as user {user}"
        return AuthenticationError(
            self.hop.host,
            f"{message} ({details})",
            f"add a public key to ~/.ssh/authorized_keys of {user} there, or name the right "
            "`user` and `key`",
        )

    def _host_key(self, error: asyncssh.HostKeyNotVerifiable) -> HostKeyError:
        known = self.settings.known_hosts
        if not self.client.refused:
            return HostKeyError(
                self.hop.host,
                f"the host key of {self._where} is not valid: {_text(error)}",
                "ask the administrator of that host why",
            )
        key = self.client.refused[0]
        if known.fingerprint:
            table = f"[hosts.{_toml(self.hop.host)}]"
            accept = f"change `fingerprint` under {table} in hosts.toml"
            return self._changed(key, known.fingerprint, accept)
        if self.client.is_authority:
            return HostKeyError(
                self.hop.host,
                f"{self._where} offers a certificate of the authority {key.get_fingerprint()}, "
                "which is not in known_hosts",
                "ask the administrator of that host for its authority, then add a line with "
                "`@cert-authority` to known_hosts",
            )
        if known.own:
            alike = [each for each in known.own if each.algorithm == key.algorithm]
            expected = " or ".join(each.get_fingerprint() for each in alike or known.own)
            return self._changed(
                key, expected, f"run `ssh-keygen -R '{known.name}' -f {self._file}`"
            )
        return self._unknown(key)

    def _changed(self, key: asyncssh.SSHKey, expected: str, accept: str) -> HostKeyError:
        return HostKeyError(
            self.hop.host,
            f"the host key of {self._where} has changed: expected {expected}, "
            f"got {key.get_fingerprint()}",
            "find out why first, since another machine may be answering: "
            f"{_compare(key)}; only if it was changed on purpose, {accept}",
        )

    def _unknown(self, key: asyncssh.SSHKey) -> HostKeyError:
        is_asked = self.settings.config.get("knownhostscommand") is None
        asked = "" if is_asked else " (`KnownHostsCommand` is not asked)"
        words = [self.settings.known_hosts.name, *key.export_public_key().decode().split()[:2]]
        accept = f"run: echo '{' '.join(words)}' >> {self._file}"
        if self._strange:
            # ssh, which knows the host by that key, learns its others.
            config = self.hop.config
            port = f" -p {config.port}" if config.port else ""
            user = f"{config.user}@" if config.user else ""
            learn = f"ssh -o UpdateHostKeys=yes{port} {user}{self.hop.address} true"
            accept = f"run: {learn}, or {accept}"
        if not self.hop.is_jump:
            setting = f'fingerprint = "{key.get_fingerprint()}"'
            table = f"[hosts.{_toml(self.hop.host)}]"
            accept = f"set `{setting}` under {table} in hosts.toml, or {accept}"
        return HostKeyError(
            self.hop.host,
            f"{self._where} offers the host key {key.get_fingerprint()}, which is not in "
            f"known_hosts{self._strange}{asked}",
            f"{_compare(key)}; if it is the same, {accept}",
        )

    @property
    def _strange(self) -> str:
        """The keys that ssh knows the host by, and pikaci can't check."""
        kinds = " or ".join(self.settings.known_hosts.strange_kinds)
        return (
            f" (known_hosts has one of kind {kinds}, which pikaci does not know)" if kinds else ""
        )

    @property
    def _file(self) -> str:
        files = [name for name in self.settings.known_hosts.files if name != os.devnull]
        return shlex.quote(next(iter(files), "known_hosts"))


def _compare(key: asyncssh.SSHKey) -> str:
    found = re.search("ed25519|ecdsa|rsa", key.get_algorithm())
    file = f"/etc/ssh/ssh_host_{found[0] if found else '*'}_key.pub"
    return f"compare it with `ssh-keygen -lf {file}` on the host itself"


def _is_refused(error: Exception) -> bool:
    # Several addresses are tried, and the errors of all come as one text.
    codes = re.findall(r"\[Errno (\d+)\]", str(error))
    return isinstance(error, ConnectionRefusedError) or (
        bool(codes) and all(int(code) == ECONNREFUSED for code in codes)
    )


def _toml(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _text(error: Exception) -> str:
    return " ".join((getattr(error, "reason", "") or str(error)).split())
