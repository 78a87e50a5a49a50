"""What a Mac guest is shown of its host, and how tart and the guest's bootstrap are told."""

from __future__ import annotations

from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.payload import PayloadManifest
    from jerichoci.plan import InputRef

AUTOMOUNTED = "/Volumes/My Shared Files"
"""Where macOS mounts by itself what has no tag of its own."""
MOUNTED = "/private/var/pikaci/shares"
"""Below it the bootstrap mounts each tag."""
SOURCE = "/private/var/pikaci/snapshot"
"""Where the snapshot is if the workspace is a copy."""
GUEST_STORE = "/nix/store"
CONTROL, TOOLCHAIN = "pikaci", "toolchain"
INPUTS_TAG = "pikaci-inputs"
OWN = frozenset({"snapshot", "artifacts"})


@dataclass(frozen=True)
class Share:
    """A directory of the host, as `name` below where its tag is mounted."""

    name: str
    source: Path
    tag: str | None = None
    guest_path: str | None = None
    """Where else a guest has it."""
    read_only: bool = True

    def option(self) -> str:
        """The value of `tart run --dir`.

        Always named, with options: what stands where those may be is taken for some.

        Raises:
            UsageError: the directory's path can't be said in one.
        """
        if ":" in str(self.source):
            raise UsageError(
                f"{self.source} can't be shared with a VM: tart takes no path with `:`",
                "keep it elsewhere",
            )
        words = ["ro"] if self.read_only else []
        words += [f"tag={self.tag}"] if self.tag else []
        return ":".join([self.name, str(self.source), *([",".join(words)] if words else [])])


class GuestShares:
    """The shares of one guest and the links in it."""

    def __init__(self, *, writable_workspace: bool) -> None:
        self._shares: list[Share] = []
        self._mounts = GuestMounts()
        self._workspace = SOURCE if writable_workspace else SNAPSHOT

    @property
    def env(self) -> Mapping[str, str]:
        """The variables that lead a job to its inputs."""
        return self._mounts.env

    def add_snapshot(self, snapshot: Path) -> None:
        """Show the snapshot, read-only."""
        self._mounts.add("snapshot", Mount(snapshot, SNAPSHOT))
        self._shares.append(Share("snapshot", snapshot, "pikaci-snapshot", self._workspace))

    def add_artifacts(self, outbox: Path) -> None:
        """Let the guest leave what the host collects."""
        self._mounts.add("artifacts", Mount(outbox, ARTIFACTS))
        share = Share("artifacts", outbox, "pikaci-artifacts", ARTIFACTS, read_only=False)
        self._shares.append(share)

    def add_store(self, view: Path) -> None:
        """Show a closure of store paths at their places."""
        self._shares.append(Share("store", view, "pikaci-store", GUEST_STORE))

    def add_automounted(self, name: str, source: Path, *, read_only: bool = True) -> None:
        """Show a directory where macOS mounts shares by itself."""
        self._shares.append(Share(name, source, read_only=read_only))

    def add_input(self, ref: InputRef, planned: Path, payload: PayloadManifest | None) -> None:
        """Show a prepared output, which the plan has at `planned`, which is a directory's path.

        Raises:
            UsageError: two inputs want one place.
        """
        there = planned
        if not is_stored(planned):
            self._shares.append(Share(ref.node_id, planned, INPUTS_TAG))
            there = Path(MOUNTED, INPUTS_TAG, ref.node_id)
        self._mounts.add_input(ref, planned, there, payload)

    def options(self) -> list[str]:
        """The values of `tart run --dir`.

        Raises:
            UsageError: a path can't be said in one.
        """
        return [share.option() for share in self._shares]

    def mounts_file(self) -> bytes:
        """A line for each tag's share: tag, share, and the guest path that leads to it."""
        tagged = [share for share in self._shares if share.tag]
        rows = {
            (share.tag or "", share.name if share.guest_path else "", share.guest_path or "")
            for share in tagged
        }
        return _lines(sorted(rows))

    def links_file(self) -> bytes:
        """A line for each further link: where it leads to, and its path."""
        linked = [mount for name, mount in self._mounts.mounts.items() if name not in OWN]
        return _lines([(str(mount.source), mount.path) for mount in linked])


def share_variable(name: str) -> str:
    """The variable that leads a job to a share of that name."""
    return f"PIKACI_SHARE_{name.upper().replace('-', '_')}"


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode("utf-8", "surrogateescape")
