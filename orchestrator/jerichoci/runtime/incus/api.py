"""The errors of an Incus daemon, guests' labels, and the frozen data that `client` gives."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


RUN_LABEL = "user.pikaci.run_id"
JOB_LABEL = "user.pikaci.job_id"
OWNER_LABEL = "user.pikaci.owner"
EXPIRY_LABEL = "user.pikaci.expires"
"""Until when a guest is kept, or stands by, in seconds since 1970."""
STANDBY_LABEL = "user.pikaci.standby"
"""Of a guest that stands by: its kind. Incus removes a key whose value is empty."""


class IncusError(InfrastructureError):
    """Incus refused a request, or a request failed."""


class UnreachableError(IncusError):
    """Incus can't be reached now; the request may have been carried out or not."""


class EndingError(UnreachableError):
    """The daemon is shutting down and refused the request.

    It exits when no command runs in a guest any more, by default after at most five minutes.
    """


class MissingError(IncusError):
    """What a request names does not exist."""


class LostError(MissingError):
    """The daemon was restarted and forgot an operation, which may have been finished or not."""


class NoProgramError(IncusError):
    """A guest has no such program."""


class ConflictError(IncusError):
    """The name is taken."""


@dataclass(frozen=True)
class Server:
    """The daemon: its version, its kinds of guests (`lxc`, `qemu`), the caller's access."""

    version: str
    drivers: tuple[str, ...]
    is_trusted: bool
    member: str | None = None
    """Its name in its cluster, if it is in one."""


@dataclass(frozen=True)
class Instance:
    """An instance; `status` is Incus's word for its state, such as Running."""

    name: str
    status: str
    is_vm: bool
    config: Mapping[str, str]

    @property
    def is_running(self) -> bool:
        """Whether it runs or is starting."""
        return self.status in {"Running", "Starting", "Ready"}


@dataclass(frozen=True)
class Executed:
    """A command's end in a guest: its exit code and, if that isn't 0, what it printed on stderr."""

    exit_code: int
    stderr: bytes


@dataclass(frozen=True)
class ExecSession:
    """A command in a guest that begins once its websockets are connected, and ends with them."""

    socket: Path
    operation: str
    websockets: Mapping[str, str]
    """Their paths by descriptor: `control`, and `0` for a terminal or `0`, `1` and `2` without."""


@dataclass(frozen=True)
class StoredImage:
    """An image on a host."""

    fingerprint: str
    aliases: tuple[str, ...]
    is_vm: bool
    architecture: str
    size_bytes: int
    created_at: str
    uploaded_at: str
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Network:
    """A network interface of the host; a managed one is Incus's own."""

    name: str
    kind: str
    is_managed: bool


@dataclass(frozen=True)
class Profile:
    """A profile's devices by name, and its configuration."""

    name: str
    devices: Mapping[str, Mapping[str, str]]
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Mapping[str, str]:
        """Its root disk; empty if it has none."""
        disks = (row for row in self.devices.values() if row.get("type") == "disk")
        return next((row for row in disks if row.get("path") == "/"), {})

    @property
    def pool(self) -> str | None:
        """The pool of its root disk."""
        return self.root.get("pool")

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The names of its network interfaces."""
        return tuple(name for name, row in self.devices.items() if row.get("type") == "nic")
