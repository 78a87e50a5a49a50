"""The images that aliases name in this machine's Incus."""

from __future__ import annotations

from jerichoci.plan.hosts import local_settings
from jerichoci.runtime.incus.api import IncusError
from jerichoci.runtime.incus.client import Incus


def fingerprints() -> dict[str, str]:
    """The fingerprint of the image that each alias names; none of an Incus that doesn't answer."""
    settings = local_settings().incus
    try:
        images = Incus(settings.socket_path(), settings.project).images()
    except IncusError:
        return {}
    return {alias: image.fingerprint for image in images for alias in image.aliases}
