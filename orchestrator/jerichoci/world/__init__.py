"""A job's world: what it has beside its command, its inputs and its workspace.

Each part of it (tools, caches, secrets, services, ...) is a `Part`, made for one attempt. Parts are
entered once the host is chosen and before the runtime is made, and left when the runtime is gone.
"""

from __future__ import annotations

from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Share:
    """A directory or file of the job's host that the job sees at another path.

    `target` is absolute, or begins with `~/` for the home of the job's user.
    """

    source: Path
    target: str
    writable: bool = False
    under: Path | None = None
    """A directory that the job sees below it, by an overlay: `source` has what is changed."""
    is_view: bool = False
    """Whether `source` is the directory `upper` of a job's own view, beside `work`."""

    def path_for(self, home: str) -> str:
        """The target, for a user with this home."""
        first, slash, rest = self.target.partition("/")
        return f"{home if first == '~' else first}{slash}{rest}"


@dataclass(frozen=True)
class World:
    """What a part gives to the job, or all of them together."""

    env: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    """Directories, as the job sees them, that come first on its PATH."""
    shares: tuple[Share, ...] = ()
    network: str | None = None
    """The bridge that the job's guest is attached to, and to no other."""
    interface: str | None = None
    """What the host calls the guest's end of a bridge."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By name; only the runtime has them, and gives them to the job as files in memory."""
    wraps: tuple[Callable[[str], str], ...] = ()
    """Each makes of a shell text one that runs it; the first of them is outermost."""

    def wrapped(self, command: str) -> str:
        """The job's command with what runs around it."""
        for wrap in reversed(self.wraps):
            command = wrap(command)
        return command


NOTHING = World()
NO_FACTS: Mapping[str, Any] = MappingProxyType({})


def merged(*worlds: World) -> World:
    """All of them in one; of two values for one variable the later one stays."""
    env: dict[str, str] = {}
    secrets: dict[str, bytes] = {}
    for world in worlds:
        env |= world.env
        secrets |= world.secrets
    return World(
        env=env,
        path=tuple(directory for world in worlds for directory in world.path),
        shares=tuple(share for world in worlds for share in world.shares),
        network=next((world.network for world in worlds if world.network), None),
        interface=next((world.interface for world in worlds if world.interface), None),
        secrets=secrets,
        wraps=tuple(wrap for world in worlds for wrap in world.wraps),
    )


class Part(Protocol):
    """A part of the world of one attempt."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is recorded of it, by words of its own, among the facts of the runtime."""

    async def enter(self) -> World:
        """Have it ready on the job's host; what raises here ends the attempt as infrastructure."""

    async def passed(self) -> None:
        """Hear that the command passed and that its artifacts were collected.

        An error here is noted and changes no verdict.
        """

    async def leave(self) -> None:
        """Remove what it made; called once after `enter`, whatever happened since."""
