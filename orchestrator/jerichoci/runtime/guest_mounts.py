"""What a guest has mounted, and where a job finds its inputs in it."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.nix.guest_views import LEASE
from jerichoci.placement import Placement, operations
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.nix.guest_store import View
    from jerichoci.plan.payload import PayloadManifest
    from jerichoci.plan.plan import InputRef
    from jerichoci.runtime import Attempt
    from jerichoci.world import Share, World

SNAPSHOT = "/workspace/snapshot"
ARTIFACTS = "/artifacts"
STORE = "/nix/.pikaci-store"
STAGED = "/staged"
CACHES = "/var/lib/pikaci-caches"
"""Where a guest has the parts of its caches, for the runner to put together."""
STORE_DIRECTORY = Path("/nix/store")
NO_INTERFACE = {"type": "none"}


@dataclass(frozen=True)
class Mount:
    """A directory or file of the host and where the guest has it."""

    source: Path
    path: str
    read_only: bool = True

    def device(self, *, is_vm: bool) -> dict[str, str]:
        """The mount in Incus's words. Shifted: owners are the same numbers on both sides."""
        device = {"type": "disk", "source": str(self.source), "path": self.path}
        if self.read_only:
            device["readonly"] = "true"
        return device | ({"io.bus": "virtiofs"} if is_vm else {"shift": "true"})


@dataclass
class GuestMounts:
    """The mounts of one guest, by the name of their device."""

    mounts: dict[str, Mount] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    """The variables that lead a job to its inputs."""
    caches: list[dict[str, str]] = field(default_factory=list)
    """For the runner, the path, the view and the lower layer of each cache."""

    def add(self, name: str, mount: Mount) -> None:
        """Add a mount."""
        for other in self.mounts.values():
            below = f"{mount.path}/".startswith(f"{other.path}/")
            if below or f"{other.path}/".startswith(f"{mount.path}/"):
                raise UsageError(
                    f"two of the job's mounts lie over each other in the guest: {other.path}"
                    f" and {mount.path}",
                    "give one prepare another `guestPath`, or its payload another mount",
                )
        self.mounts[name] = mount

    def add_input(
        self, ref: InputRef, planned: Path, source: Path, payload: PayloadManifest | None
    ) -> None:
        """Show a prepared output, which the plan has at `planned` and the host shows at `source`.

        A store path is in the guest's store anyway. It is mounted elsewhere too if the plan or its
        payload's manifest says where; what isn't in a store has no other place.
        """
        guest_path = place(ref, planned)
        if guest_path != str(planned):
            self.add(f"input-{len(self.mounts)}", Mount(source, guest_path))
        for mount in payload.mounts if payload else ():
            if mount.guest_path != guest_path:
                inner = (planned / mount.relative_path).resolve().relative_to(planned.resolve())
                self.add(f"input-{len(self.mounts)}", Mount(source / inner, mount.guest_path))
        if ref.env:
            self.env[ref.env] = guest_path

    def add_world(self, world: World, home: str) -> None:
        """Show what else is shared with the job, whose user's home in the guest is `home`."""
        for share in world.shares:
            target = share.path_for(home)
            if share.is_view:
                self._add_cache(share, target)
                continue
            mount = Mount(share.source, target, read_only=not share.writable)
            self.add(f"share-{len(self.mounts)}", mount)
        self.env |= world.env

    def _add_cache(self, share: Share, path: str) -> None:
        """Show the parts of a cache, whose view is the directory of the share's source."""
        there = f"{CACHES}/{len(self.caches)}"
        view, lower = f"{there}/view", f"{there}/lower" if share.under else ""
        self.add(f"cache-{len(self.mounts)}", Mount(share.source.parent, view, read_only=False))
        if share.under:
            self.add(f"cache-{len(self.mounts)}", Mount(share.under, lower))
        self.caches.append({"path": path, "view": view, "lower": lower})

    def devices(self, *, is_vm: bool) -> dict[str, dict[str, str]]:
        """All mounts in Incus's words."""
        return {name: mount.device(is_vm=is_vm) for name, mount in self.mounts.items()}

    @property
    def paths(self) -> str:
        """The paths that must be mounted before a job may start, as the runner takes them."""
        return ":".join(mount.path for mount in self.mounts.values())


async def view_of_inputs(placement: Placement, attempt: Attempt) -> View | None:
    """Where guests can be shown the attempt's inputs in the Nix store; None if it has none."""
    stored = [str(path) for path in attempt.inputs.values() if is_stored(path)]
    if not stored:
        return None
    view = await placement.do(operations.guest_view, stored, attempt.scratch / LEASE)
    if view is None or not view.outputs.keys() >= set(stored):
        raise InfrastructureError(f"{placement.host} has no place for what guests need")
    return view


def is_stored(path: Path) -> bool:
    """Whether a path lies in the Nix store."""
    return STORE_DIRECTORY in path.parents


def place(ref: InputRef, planned: Path) -> str:
    """Where a guest has a prepared output that the plan has at `planned`."""
    own = str(planned) if is_stored(planned) else f"{STAGED}/{ref.node_id}"
    return ref.guest_path or own


def interface(
    network: str | None, profile: Iterable[str], named: str | None = None
) -> dict[str, dict[str, str]]:
    """The devices that attach a guest to a bridge, or to none whatever its profile has.

    `named` is what the host calls the guest's end.
    """
    devices = {name: dict(NO_INTERFACE) for name in profile}
    if network is not None:
        devices["eth0"] = {"type": "nic", "nictype": "bridged", "parent": network, "name": "eth0"}
        if named is not None:
            devices["eth0"]["host_name"] = named
    return devices
