"""The secrets of one attempt, as a part of its world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jerichoci.plan.secrets import Secret


class Secrets:
    """Those that are given of the secrets that a job asks for; the others are noted."""

    def __init__(
        self,
        asked: Sequence[Secret],
        given: Mapping[str, bytes],
        branch: str | None,
        note: Callable[[str], None],
    ) -> None:
        self._asked = asked
        self._given = given
        self._branch = branch
        self._note = note

    async def enter(self) -> World:
        """Give them; the runtime puts them where only the job reads them."""
        here = f"this run is of {self._branch}" if self._branch else "this run names no `--branch`"
        for secret in self._asked:
            if secret.name not in self._given:
                only = ", ".join(secret.branches) or "all branches, on this machine not for all"
                self._note(f"secret {secret.name} was not given: it is for {only}, and {here}")
        return World(secrets=self._given)

    async def passed(self) -> None:
        """Nothing to publish."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The names of those that the job was given."""
        return {"secrets": sorted(self._given)}

    async def leave(self) -> None:
        """Nothing to remove: they are gone with what the job ran in."""
