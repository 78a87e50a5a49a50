"""What a Mac guest sees of its host, in the words of tart and of the guest's bootstrap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.runtime.guest_mounts import (
    ARTIFACTS,
    SNAPSHOT,
    GuestMounts,
    Mount,
    is_stored,
)
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.plan.payload import PayloadManifest
    from jerichoci.plan.plan import InputRef
    from jerichoci.world import World

AUTOMOUNT_TAG = "com.apple.virtio-fs.automount"
"""macOS mounts what has this tag by itself. Mounts of other tags can't be read in some guests."""
AUTOMOUNTED = "/Volumes/My Shared Files"
"""Where it mounts them, by name."""
GUEST_STORE = "/nix/store"
OWN = frozenset({"snapshot", "artifacts"})


@dataclass(frozen=True)
class Share:
    """A directory of the host, which a guest has by its name."""

    name: str
    source: Path
    read_only: bool = True

    @property
    def guest_path(self) -> str:
        """Its path in the guest."""
        return f"{AUTOMOUNTED}/{self.name}"

    def option(self) -> str:
        """The value of `tart run --dir`.

        It always has a name and options: tart would parse a path in their place as such.
        """
        if ":" in str(self.source):
            raise UsageError(
                f"{self.source} can't be shared with a VM: tart takes no path with `:`",
                "keep it elsewhere",
            )
        access = "ro," if self.read_only else ""
        return f"{self.name}:{self.source}:{access}tag={AUTOMOUNT_TAG}"


class GuestShares:
    """The shares of one guest and the links in it that lead to them."""

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._mounts = GuestMounts()
        self._links: list[tuple[str, str]] = []

    @property
    def env(self) -> Mapping[str, str]:
        """The variables that lead a job to its inputs."""
        return self._mounts.env

    def add(self, name: str, source: Path, *, read_only: bool = True) -> Share:
        """Show a directory."""
        share = Share(name, source, read_only)
        if any(other.name == name for other in self._shares if other != share):
            raise UsageError(
                f"two of the directories that are shared with a VM are named {name}",
                "give the job's own in `tart.shares` another name",
            )
        if share not in self._shares:
            self._shares.append(share)
        return share

    def add_snapshot(self, snapshot: Path, *, is_workspace: bool) -> Share:
        """Show the snapshot, as the workspace itself if nothing is to be written there."""
        self._mounts.add("snapshot", Mount(snapshot, SNAPSHOT))
        share = self.add("snapshot", snapshot)
        if is_workspace:
            self._links.append((share.guest_path, SNAPSHOT))
        return share

    def add_artifacts(self, outbox: Path) -> None:
        """Let the guest leave what the host collects."""
        self._mounts.add("artifacts", Mount(outbox, ARTIFACTS))
        share = self.add("artifacts", outbox, read_only=False)
        self._links.append((share.guest_path, ARTIFACTS))

    def add_store(self, view: Path) -> None:
        """Show a closure of store paths at their places."""
        self._links.append((self.add("store", view).guest_path, GUEST_STORE))

    def add_input(self, ref: InputRef, planned: Path, payload: PayloadManifest | None) -> None:
        """Show a prepared output, which the plan has at `planned`, a directory or a store path."""
        there = planned
        if not is_stored(planned):
            there = Path(self.add(f"input.{ref.node_id}", planned).guest_path)
        self._mounts.add_input(ref, planned, there, payload)

    def add_world(self, world: World, home: str) -> None:
        """Show what else is shared with the job, whose user's home in the guest is `home`."""
        for number, share in enumerate(world.shares):
            there = self.add(f"world.{number}", share.source, read_only=not share.writable)
            placed = replace(share, source=Path(there.guest_path))
            self._mounts.add_world(replace(world, shares=(placed,), env={}), home)
        self._mounts.env |= world.env

    def options(self) -> list[str]:
        """The values of `tart run --dir`."""
        return [share.option() for share in self._shares]

    def links_file(self) -> bytes:
        """A line for each link: where it leads to, and its path."""
        linked = [mount for name, mount in self._mounts.mounts.items() if name not in OWN]
        rows = [*self._links, *((str(mount.source), mount.path) for mount in linked)]
        for target, path in rows:
            if any(sign in target + path for sign in "\t\n"):
                raise UsageError(
                    f"{target!r} can't be shown in a VM: its path has a tab or a line break",
                    "give it another name",
                )
        lines = (f"{target}\t{path}\n" for target, path in rows)
        return "".join(lines).encode("utf-8", "surrogateescape")
