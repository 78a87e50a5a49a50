"""What pikaci asks of an Incus daemon: one Protocol, and the frozen data it takes and gives.

Source: Incus's REST API (doc/rest-api.yaml), version 6.0. All calls block, so they belong into a
thread; several threads may share one object. Names are relative to the project it was opened for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from jerichoci.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class IncusError(InfrastructureError):
    """Incus refused a request, or a request failed."""


class UnreachableError(IncusError):
    """Incus can't be reached now; what was asked for may have been done or not."""


class EndingError(UnreachableError):
    """The daemon was told to end, and has not done what was asked for.

    It stays until no command runs in a guest any more, by default for five minutes at most.
    """


class MissingError(IncusError):
    """What was asked about isn't there."""


class LostError(MissingError):
    """The daemon was restarted and forgot what it was doing; that may be done or not."""


class NoProgramError(IncusError):
    """A guest has no such program."""


class ConflictError(IncusError):
    """There is one of that name already."""


@dataclass(frozen=True)
class Server:
    """The daemon: its version, its kinds of guests (`lxc`, `qemu`), the caller's access."""

    version: str
    drivers: tuple[str, ...]
    is_trusted: bool
    member: str | None = None
    """Its name in its cluster, if it is in one."""


@dataclass(frozen=True)
class InstanceSpec:
    """An instance to be made; it is ephemeral: Incus removes it when it stops."""

    name: str
    image: str
    """The image's fingerprint."""
    is_vm: bool
    profile: str
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """An instance as Incus knows it; `status` is its word for the state, such as Running."""

    name: str
    status: str
    is_vm: bool
    config: Mapping[str, str]

    @property
    def is_running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.status in {"Running", "Starting", "Ready"}


@dataclass(frozen=True)
class Executed:
    """A command's end in a guest: its exit code, and what it printed on stdout and stderr."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Session:
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
    def pool(self) -> str | None:
        """The pool of its root disk."""
        roots = [row for row in self.devices.values() if is_root_disk(row)]
        return roots[0].get("pool") if roots else None

    @property
    def has_root_size(self) -> bool:
        """Whether its root disk has a size."""
        return any(is_root_disk(row) and row.get("size") for row in self.devices.values())

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The names of its network interfaces."""
        return tuple(name for name, row in self.devices.items() if row.get("type") == "nic")


def is_root_disk(device: Mapping[str, str]) -> bool:
    """Whether a device is an instance's root disk."""
    return device.get("type") == "disk" and device.get("path") == "/"


class Incus(Protocol):
    """An Incus daemon, and one project in it."""

    @property
    def project(self) -> str:
        """The project's name."""

    def server(self) -> Server:
        """Say who answers.

        Raises:
            UnreachableError: nobody, or we may not ask.
        """

    def project_config(self) -> Mapping[str, str] | None:
        """The project's configuration; None if there is no such project."""

    def ignores_memory_limits(self) -> bool:
        """Whether the host has no way to limit a container's memory, and Incus goes on without."""

    def create(self, spec: InstanceSpec, deadline_secs: float) -> None:
        """Create an instance and start it, in one request; it runs afterwards.

        Of a cluster, it is on the member that answers: there are the directories that it sees.

        Raises:
            ConflictError: there is one of that name.
            IncusError: it can't be created, or isn't after `deadline_secs`.
        """

    def instance(self, name: str, *, patient: bool = True) -> Instance | None:
        """An instance; None if there is none of that name.

        Unless `patient`, a daemon that can't be reached is not waited for.
        """

    def instances(self, config: Mapping[str, str]) -> list[Instance]:
        """The instances whose config has these values."""

    def execute(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], deadline_secs: float
    ) -> Executed:
        """Run a command in a guest, as root, to its end; twice, if the connection breaks meanwhile.

        Raises:
            MissingError: there is no such instance.
            NoProgramError: it has no such program.
            IncusError: it doesn't run, or the command doesn't end in time.
        """

    def keep(self, name: str, config: Mapping[str, str]) -> None:
        """Let an instance outlive its stop, and add to its config."""

    def stop(self, name: str) -> None:
        """Ask for an instance to be stopped by force, without waiting; no error if it is gone."""

    def delete(self, name: str, deadline_secs: float) -> None:
        """Stop and remove an instance; no error if it is gone.

        Raises:
            IncusError: it is still there after `deadline_secs`.
        """

    def begin(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        size: tuple[int, int] | None = None,
    ) -> Session:
        """Begin a command in a guest, as root; on a terminal of `size` columns and rows, if given.

        Raises:
            IncusError: there is no such instance, or it doesn't run.
        """

    def exit_code(self, session: Session) -> int:
        """Wait for a session's end; its command's exit code, 127 if the guest has no such command.

        Raises:
            IncusError: it never began, or what became of it isn't known.
        """

    def images(self) -> list[StoredImage]:
        """The project's images."""

    def image(self, alias: str) -> StoredImage | None:
        """The image that an alias names; None if there is no such alias."""

    def import_image(self, metadata: Path, rootfs: Path, *, is_vm: bool) -> str:
        """Import a split image and say its fingerprint.

        Raises:
            IncusError: it can't be imported, or is there already.
        """

    def set_properties(self, fingerprint: str, properties: Mapping[str, str]) -> None:
        """Add to an image's properties.

        Raises:
            MissingError: there is no such image.
        """

    def point_alias(self, alias: str, fingerprint: str) -> None:
        """Have an alias name an image from one moment to the next, created if it isn't there.

        Raises:
            MissingError: there is no such image.
        """

    def delete_image(self, fingerprint: str) -> None:
        """Remove an image; instances made from it stay.

        Raises:
            MissingError: there is no such image.
        """

    def pool_driver(self, pool: str) -> str | None:
        """The driver of a storage pool; None if there is no such pool."""

    def pool_free_bytes(self, pool: str) -> int | None:
        """The room left in a storage pool; None if it can't be told."""

    def is_unpacked(self, pool: str, fingerprint: str) -> bool:
        """Whether a pool has an image's unpacked copy, of which instances are made."""

    def profile(self, name: str) -> Profile | None:
        """A profile; None if there is none of that name."""

    def networks(self) -> list[Network]:
        """The host's interfaces, with those that Incus makes."""

    def has_network(self, name: str) -> bool:
        """Whether the host has an interface of that name to which guests can be attached."""
