"""What to say of a host that lets us in, and can't be used as it is."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from jerichoci.errors import DISK_FULL, UsageError
from jerichoci.machine.ending import in_words
from jerichoci.remote.ssh.errors import HostError, HostFullError, HostLostError, HostSetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jerichoci.plan.hosts import RemoteHost
    from jerichoci.remote.agent.agent_operations import Tools
    from jerichoci.remote.agent.survey import Programs

PYTHON = "3.11"
"""The oldest that the agent runs on."""
CHANNELS = 3
"""How many programs at a time a connection is used for, the agent included."""
NOT_FOUND = 127
"""Every shell's exit code for a program that isn't there."""


def no_channel(host: str, reason: str) -> HostSetupError:
    """A connection gets no further session from sshd."""
    return HostSetupError(
        host,
        f"sshd on {host} refuses to start another program on the connection: {reason}",
        f"its sshd_config must have `MaxSessions {CHANNELS}` or more",
    )


def no_agent(host: RemoteHost, code: int | None, last: str) -> HostSetupError:
    """The command that starts the agent ended; `last` is the last line of its output."""
    name = host.name
    if code == NOT_FOUND or "not found" in last:
        return HostSetupError(
            name,
            f"a login on {name} over ssh finds no python3: {last}",
            f"install Python {PYTHON} or later there, or have sshd's PATH (`SetEnv`) name it",
        )
    return HostSetupError(
        name,
        f"a login on {name} does not run the given command (it {in_words(code)}): {last}",
        f"`ssh {host.address} python3 --version` should print a version and nothing else: see the"
        " login shell and its files there, `ForceCommand` of sshd_config and `command=` of our key",
    )


def noisy(host: RemoteHost, lines: int) -> HostSetupError:
    """A login prints too much."""
    return HostSetupError(
        host.name,
        f"a login on {host.name} prints more than {lines} lines before it runs a command",
        f"`ssh {host.address} python3 --version` should print a version and nothing else",
    )


def refused(host: str, fault: Mapping[str, Any]) -> HostError:
    """`agent.boot` did not start an agent, for this reason."""
    match fault:
        case {"what": "python", "version": version}:
            return HostSetupError(
                host,
                f"python3 on {host} is too old: {version}",
                f"pikaci needs Python {PYTHON} or later there",
            )
        case {"what": "owner", "uid": uid, "me": me, "path": path}:
            return HostSetupError(
                host,
                f"the work directory {path} on {host} belongs to user {uid}, but we log in as "
                f"user {me}",
                _another(host),
            )
        case {"what": "os", "errno": number, "message": message, "path": path}:
            return unusable(host, str(path), number, str(message))
        case _:
            why = fault.get("message", "it gives no reason")
            return HostSetupError(host, f"the agent on {host} does not start: {why}")


def unusable(host: str, path: str, number: int | None, message: str) -> HostError:
    """The work directory `path` can't be used, by the system's error."""
    if number in DISK_FULL:
        return full(host, path)
    match number:
        case errno.EROFS:
            why = "is on a read-only disk"
        case errno.EEXIST | errno.ENOTDIR:
            why = "is not a directory"
        case errno.EACCES | errno.EPERM:
            why = "is not writable for us"
        case _:
            why = f"can't be used: {message}"
    return HostSetupError(host, f"the work directory {path} on {host} {why}", _another(host))


def full(host: str, path: str) -> HostFullError:
    """There is no room for the work directory `path`."""
    return HostFullError(
        host,
        f"the disk under the work directory {path} on {host} is full",
        f"make room there, e.g. with `pikaci gc`; or {_another(host)}",
    )


def check_programs(host: str, programs: Programs) -> None:
    """Refuse a host without what every job needs."""
    from jerichoci.snapshot import git

    install = f"git {'.'.join(map(str, git.MINIMUM_VERSION))} or later"
    _check_present(host, {"bash": programs.bash}, "bash")
    _check_present(host, {"git": programs.git}, install)
    _check_version(host, git.check_version, programs.git)


def check_nix(host: str, tools: Tools) -> None:
    """Refuse a host without a Nix that prepares can use."""
    from jerichoci.nix import command

    _check_present(host, {"nix": tools.nix, "nix-daemon": tools.nix_daemon}, "Nix")
    _check_version(host, command.check_version, tools.nix)


def _check_present(host: str, programs: Mapping[str, str | None], what: str) -> None:
    for name, version in programs.items():
        if version is None:
            raise HostSetupError(
                host,
                f"host {host} has no `{name}` on its PATH",
                f"install {what} there, or name its directory in `search_path` of [hosts.{host}]",
            )


def _check_version(host: str, check: Callable[[str], None], version: str | None) -> None:
    try:
        check(version or "")
    except UsageError as error:
        raise HostSetupError(host, f"host {host}: {error.message}", error.hint) from error


def _another(host: str) -> str:
    return f"name another one: `work_dir` of [hosts.{host}] in hosts.toml"


def gone(host: str, before: str | None, now: str | None, *, died: bool) -> HostLostError:
    """Why an agent is gone, by the host's boot ids, and whether it did not end in order."""
    if before and now and before != now:
        return HostLostError(
            host, f"{host} was rebooted while it was used", "what ran there is gone; run it again"
        )
    if died:
        return HostLostError(
            host,
            f"the agent on {host} was killed, and with it what ran there",
            "had the host no memory left, or does it end what people leave running when they"
            " log out? (`loginctl enable-linger`)",
        )
    return HostLostError(
        host,
        f"the agent on {host} has ended: it was told to, or heard nothing of us for too long",
        "did this machine sleep, or was pikaci stopped?",
    )
