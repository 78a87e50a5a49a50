"""What may have changed in a tree: the notices of inotify or of looking again and again."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(Enum):
    """What a notice is about."""

    CHANGED = "changed"
    """A file was made, written, renamed or removed, or has other permissions."""
    DIRECTORY = "directory"
    """There is a new directory, which is not watched yet."""
    GONE = "gone"
    """A directory was removed or renamed; what was below it isn't watched any more."""
    LOST = "lost"
    """Notices were lost: anything may have changed."""


@dataclass(frozen=True)
class Notice:
    """One change. `name` is relative to the tree's root, which is itself called ""."""

    kind: Kind
    name: str = ""


class TooManyError(Exception):
    """The system allows no more watches; the text says which setting limits them."""


class Notices(Protocol):
    """A source of notices about directories."""

    def watch(self, directories: Iterable[str]) -> None:
        """Watch more directories, without those below them; one that is not there is passed over.

        Raises:
            TooManyError: the system allows no more.
        """

    async def get(self) -> list[Notice]:
        """Wait for notices. Nothing is lost if the wait is cancelled."""

    def close(self) -> None:
        """End watching."""
