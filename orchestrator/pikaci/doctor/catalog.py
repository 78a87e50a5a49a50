"""What the flake needs: images, and what they would be now."""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.nix.command import NixOptions
from jerichoci.plan.hosts import HostConfig, known_part
from jerichoci.runtime.incus.rules import Needs
from jerichoci.state.dataclass import dataclass
from pikaci.doctor.finding import Finding, note, ok
from pikaci.images import RoleImage, read_image
from pikaci.location import FlakeOptions, has_flake
from pikaci.sourcing import open_tree

if TYPE_CHECKING:
    from pikaci.evaluation import Evaluator

CURRENT_SECS = 10.0
"""To evaluate what an image would be now; `pikaci image list --check` takes longer."""


@dataclass(frozen=True)
class FlakeNeeds:
    """The images that the catalog names; none outside a flake."""

    images: tuple[RoleImage, ...] = ()
    findings: tuple[Finding, ...] = ()
    evaluator: Evaluator | None = None
    buildable: frozenset[str] = field(default_factory=frozenset)
    """The roles that Nix can build here."""

    @property
    def has_vms(self) -> bool:
        """Whether one of them is a virtual machine's."""
        return any(image.instance_type == "virtual-machine" for image in self.images)

    def of_guests(self, member: str | None = None) -> Needs:
        """What its images need of an Incus, or of a member of a cluster."""
        kinds = frozenset(image.instance_type for image in self.images)
        return Needs(kinds, member=member)

    async def hosts(self) -> dict[str, HostConfig]:
        """The hosts that the catalog describes."""
        found = await self.evaluator.hosts() if self.evaluator else {}
        return {
            name: HostConfig.model_validate(known_part(HostConfig, values))
            for name, values in found.items()
        }

    async def drv_path(self, role: str) -> str | None:
        """What a role's image would be built by now, if Nix soon answers."""
        if self.evaluator is None or role not in self.buildable:
            return None
        try:
            async with asyncio.timeout(CURRENT_SECS):
                found = await self.evaluator.image(role, built=True)
        except (PikaciError, TimeoutError):
            return None
        drv_path: str | None = found.values.get("drv_path")
        return drv_path


async def read_needs(state_root: str | None, flake: str | None) -> FlakeNeeds:
    """Read the catalog of the flake, if there is one."""
    if not has_flake(flake):
        return FlakeNeeds()
    try:
        options = FlakeOptions(flake, None, state_root, NixOptions(offline=True))
        evaluator = await open_tree(options, read_only=True)
        catalog = await evaluator.catalog()
    except PikaciError as error:
        hint = error.hint or "`pikaci targets` prints all of it"
        return FlakeNeeds(findings=(note("catalog", error.message, hint),))
    rows = catalog.values["images"]
    images = tuple(read_image(row, catalog.system) for row in rows)
    buildable = frozenset(row["role"] for row in rows if row["buildable"])
    roles = ", ".join(image.role for image in images) or "none"
    text = f"{len(catalog.values['targets'])} targets for {catalog.system}; images: {roles}"
    return FlakeNeeds(images, (ok("catalog", text),), evaluator, buildable)
