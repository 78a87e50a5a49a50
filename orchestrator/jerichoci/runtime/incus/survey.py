"""What guests of a host are made from, looked up once for all jobs of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jerichoci.placement import IncusSettings
    from jerichoci.runtime.incus.api import Profile, StoredImage
    from jerichoci.runtime.incus.client import Incus


@dataclass(frozen=True)
class GuestSurvey:
    """The profile of guests, their pool, and images by alias: None where one is missing."""

    profile: Profile | None
    pool: str | None
    images: Mapping[str, StoredImage | None]
    unpacked: frozenset[str]
    """The fingerprints of the images that need no wait: those that the pool has unpacked, or all,
    if it unpacks them for each guest."""

    def image(self, alias: str) -> StoredImage:
        """The image of an alias."""
        found = self.images.get(alias)
        if found is None:
            raise InfrastructureError(
                f"image {alias} is gone", "import it again: `pikaci image import`"
            )
        return found

    def checked_profile(self) -> Profile:
        """The profile."""
        if self.profile is None:
            raise InfrastructureError("the profile of guests is gone", "`pikaci doctor` shows more")
        return self.profile


def survey(incus: Incus, site: IncusSettings, aliases: Iterable[str]) -> GuestSurvey:
    """Look at a host; blocking."""
    profile = incus.profile(site.profile)
    pool = site.pool or (profile.pool if profile else None)
    stored = {alias: image for image in incus.images() for alias in image.aliases}
    images = {alias: stored.get(alias) for alias in aliases}
    fingerprints = {image.fingerprint for image in images.values() if image}
    unpacked = {mark for mark in fingerprints if pool and incus.is_unpacked(pool, mark)}
    if pool and unpacked != fingerprints and incus.pool_driver(pool) == "dir":
        unpacked = fingerprints
    return GuestSurvey(profile, pool, images, frozenset(unpacked))
