"""What to say of a host that lets us in, and can't be used as it is."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError, UsageError
from jerichoci.remote.ssh.errors import HostError, HostFullError, HostSetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.plan.hosts import RemoteHost

PYTHON = "3.11"
"""The oldest that the agent runs on."""
CHANNELS = 3
"""How many programs at a time a connection is used for, the agent included."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_FOUND = 127
"""Every shell's exit code for a program that isn't there."""


def no_channel(host: str, reason: str) -> HostSetupError:
    """Say that sshd opens no further session on a connection that is there."""
    return HostSetupError(
        host,
        f"sshd on {host} lets us start no more programs on a connection: {reason}",
        f"its sshd_config must have `MaxSessions {CHANNELS}` or more",
    )


def no_agent(host: RemoteHost, code: int | None, last: str) -> HostSetupError:
    """What was to start the agent ended; `last` is what it said last."""
    name = host.name
    if code == NOT_FOUND or "not found" in last:
        return HostSetupError(
            name,
            f"{name} has no python3 that a login over ssh would find: {last}",
            f"install Python {PYTHON} or later there, or have sshd's PATH (`SetEnv`) name it",
        )
    return HostSetupError(
        name,
        f"a login on {name} does not run what it is given (exit code {code}): {last}",
        f"`ssh {host.address} python3 --version` should print a version and nothing else: see the"
        " login shell and its files there, `ForceCommand` of sshd_config and `command=` of our key",
    )


def noisy(host: RemoteHost, lines: int) -> HostSetupError:
    """A login prints more than anybody reads."""
    return HostSetupError(
        host.name,
        f"a login on {host.name} prints more than {lines} lines before it does anything",
        f"`ssh {host.address} python3 --version` should print a version and nothing else",
    )


def refused(host: str, fault: Mapping[str, Any]) -> HostError:
    """Why there can be no agent, as `agent.boot` says it."""
    match fault:
        case {"what": "python", "version": version}:
            return HostSetupError(
                host,
                f"python3 on {host} is {version}, which is too old",
                f"pikaci needs Python {PYTHON} or later there",
            )
        case {"what": "owner", "uid": uid, "me": me, "path": path}:
            return HostSetupError(
                host,
                f"the work directory {path} on {host} belongs to user {uid}; we are {me} there",
                _another(host),
            )
        case {"what": "os", "errno": number, "message": message, "path": path}:
            return unusable(host, str(path), number, str(message))
        case _:
            why = fault.get("message", "it doesn't say why")
            return HostSetupError(host, f"the agent on {host} doesn't start: {why}")


def unusable(host: str, path: str, number: int | None, message: str) -> HostError:
    """Why the work directory `path` can't be used, by what the system said."""
    where = f"the work directory {path} on {host}"
    match number:
        case errno.ENOSPC | errno.EDQUOT:
            return full(host, path)
        case errno.EROFS:
            return HostSetupError(host, f"{where} is on a read-only disk", _another(host))
        case errno.EEXIST | errno.ENOTDIR:
            return HostSetupError(host, f"{where} is no directory", _another(host))
        case errno.EACCES | errno.EPERM:
            return HostSetupError(host, f"{where} isn't ours to write to", _another(host))
        case _:
            return HostSetupError(host, f"{where} can't be used: {message}", _another(host))


def is_full(error: Exception) -> bool:
    """Whether what went wrong there is that a disk is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    message = error.message if isinstance(error, PikaciError) else ""
    return any(os.strerror(number) in message for number in FULL)


def full(host: str, path: str) -> HostFullError:
    """There is no room for the work directory `path`."""
    return HostFullError(
        host,
        f"the disk under the work directory {path} on {host} is full",
        f"make room there, e.g. with `pikaci gc`; or {_another(host)}",
    )


def lacks(host: str, program: str, what: str) -> HostSetupError:
    """A program isn't there; `what` is what to install."""
    return HostSetupError(
        host,
        f"host {host} has no `{program}` on its PATH",
        f"install {what} there, or name its directory in `search_path` of [hosts.{host}]",
    )


def check_programs(host: str, programs: Mapping[str, str | None]) -> None:
    """Refuse a host without what every job needs; `programs` are versions, by name.

    Raises:
        HostSetupError: one isn't there, or is too old.
    """
    from jerichoci.snapshot import git

    install = f"git {'.'.join(map(str, git.MINIMUM_VERSION))} or later"
    for name, what in {"bash": "bash", "git": install}.items():
        if programs[name] is None:
            raise lacks(host, name, what)
    try:
        git.check_version(programs["git"] or "")
    except UsageError as error:
        raise HostSetupError(host, f"host {host}: {error.message}", error.hint) from error


def check_nix(host: str, programs: Mapping[str, str | None]) -> None:
    """Refuse a host without a Nix that prepares can use.

    Raises:
        HostSetupError: it isn't there, or is too old.
    """
    from jerichoci.nix import command as nix

    for name in nix.NEEDED_THERE:
        if programs[name] is None:
            raise lacks(host, name, "Nix")
    try:
        nix.check_version(programs["nix"] or "")
    except UsageError as error:
        raise HostSetupError(host, f"host {host}: {error.message}", error.hint) from error


def _another(host: str) -> str:
    return f"name another one: `work_dir` of [hosts.{host}] in hosts.toml"
