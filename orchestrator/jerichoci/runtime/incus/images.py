"""The images of a project of an Incus."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.runtime.incus.api import ConflictError, MissingError, StoredImage
from jerichoci.runtime.incus.rest import ANSWER_SECS, Rest, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IMPORT_SECS = 1800.0
"""For an image of some GiB to be uploaded, hashed and stored."""
ALIAS_ATTEMPTS = 3


class Images:
    """What pikaci asks of an Incus about images; all calls block."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def images(self) -> list[StoredImage]:
        """The project's images."""
        return [
            StoredImage(
                fingerprint=str(row["fingerprint"]),
                aliases=tuple(alias["name"] for alias in row.get("aliases") or ()),
                is_vm=row.get("type") == "virtual-machine",
                architecture=str(row.get("architecture", "")),
                size_bytes=int(row.get("size", 0)),
                created_at=str(row.get("created_at", "")),
                uploaded_at=str(row.get("uploaded_at", "")),
                properties=row.get("properties") or {},
            )
            for row in self._rest.get("images", recursion="1")
        ]

    def image(self, alias: str) -> StoredImage | None:
        """The image that an alias names; None if there is no such alias."""
        return next((found for found in self.images() if alias in found.aliases), None)

    def import_image(self, metadata: Path, rootfs: Path, *, is_vm: bool) -> str:
        """Import a split image; its fingerprint."""
        from jerichoci.runtime.incus.upload import upload

        files = "rootfs.img" if is_vm else "rootfs", rootfs
        operation = upload(self._rest, metadata, files, (ANSWER_SECS, IMPORT_SECS))
        done = self._rest.outcome(operation, self._rest.route.clock() + IMPORT_SECS)
        return str(done["metadata"]["fingerprint"])

    def set_properties(self, fingerprint: str, properties: Mapping[str, str]) -> None:
        """Add to an image's properties."""
        self._rest.change("patch", f"images/{fingerprint}", {"properties": dict(properties)})

    def point_alias(self, alias: str, fingerprint: str) -> None:
        """Have an alias name an image from one moment to the next; it is created if missing."""
        body = {"target": fingerprint}
        for _ in range(ALIAS_ATTEMPTS):
            with suppress(MissingError):
                self._rest.change("patch", f"images/aliases/{quoted(alias)}", body)
                return
            # The alias or the image was missing; another process may have made the alias since.
            with suppress(ConflictError):
                self._rest.call("post", "images/aliases", json={**body, "name": alias})
                return
        raise MissingError(f"Incus: there is no image {fingerprint}")

    def delete_image(self, fingerprint: str) -> None:
        """Remove an image; instances made from it are kept."""
        end = self._rest.route.clock() + ANSWER_SECS
        self._rest.wait(self._rest.call("delete", f"images/{fingerprint}"), end)
