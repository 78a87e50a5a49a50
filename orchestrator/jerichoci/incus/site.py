"""Which Incus a host's guests are made in: its socket, the project, the profile, the pool.

From `[local.incus]` in `$XDG_CONFIG_HOME/pikaci/hosts.toml`; every key is optional:

    [local.incus]
    socket = "/var/lib/incus/unix.socket"   # else INCUS_SOCKET, INCUS_DIR, or this
    project = "pikaci"
    profile = "default"
    pool = "fast"                           # else the one of the profile's root disk
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, ValidationError

from jerichoci.errors import UsageError
from jerichoci.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/var/lib/incus/unix.socket"
SERVICE_SOCKET = "/run/incus/unix.socket"
PROJECT = "pikaci"

Name = Annotated[str, Field(min_length=1)]


class IncusSite(Model):
    """Where guests are made."""

    model_config = ConfigDict(extra="forbid")

    socket: Name | None = None
    project: Name = PROJECT
    profile: Name = "default"
    pool: Name | None = None

    def socket_path(self, env: Mapping[str, str] | None = None) -> Path:
        """The daemon's socket."""
        env = os.environ if env is None else env
        if self.socket:
            return Path(self.socket)
        if env.get("INCUS_SOCKET"):
            return Path(env["INCUS_SOCKET"])
        if env.get("INCUS_DIR"):
            return Path(env["INCUS_DIR"]) / "unix.socket"
        service = Path(SERVICE_SOCKET)
        return service if service.exists() else Path(SOCKET)


class LocalHost(Model):
    """This machine."""

    model_config = ConfigDict(extra="forbid")

    incus: IncusSite = IncusSite()


class HostsFile(Model):
    """What `hosts.toml` says."""

    model_config = ConfigDict(extra="forbid")

    local: LocalHost = LocalHost()


def hosts_file(env: Mapping[str, str] | None = None) -> Path:
    """Where hosts are described."""
    env = os.environ if env is None else env
    home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "/")) / ".config")
    return Path(home) / "pikaci" / "hosts.toml"


def local_site(path: Path | None = None) -> IncusSite:
    """This machine's Incus; as it is installed, if there is no hosts file.

    Raises:
        UsageError: the file can't be read, or says something else.
    """
    import tomllib

    path = path or hosts_file()
    try:
        return HostsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).local.incus
    except FileNotFoundError:
        return IncusSite()
    except ValidationError as error:
        from jerichoci.plan import describe

        raise UsageError(f"{path}: {describe(error)}", "docs/incus.md has its keys") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}", "mend it, or remove it") from error
