"""Which of the files that a job left are taken: the ones it names, up to a size and a number."""

from __future__ import annotations

from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.machine.glob import GlobSet

MIB = 1024 * 1024
MOST_MIB = 8192
"""Taken of one attempt, where the job doesn't say."""
MOST_FILES = 100_000
OWN = ".pikaci-"
"""With which paths begin of what pikaci itself leaves among the files."""
MOST_NAMED = 3
"""Refused files in a message; it says how many more there are."""


@dataclass(frozen=True)
class ArtifactLimits:
    """What a job says of its artifacts: globs of paths, none for all; MiB of all together."""

    include: tuple[str, ...] = ()
    max_mib: int = MOST_MIB


@dataclass
class Admission:
    """What has been taken of one attempt's files, and what was refused."""

    limits: ArtifactLimits = field(default_factory=ArtifactLimits)
    refused: list[str] = field(default_factory=list)
    """The first files that were too large or too many, each with the reason."""
    refused_count: int = 0
    _files: int = 0
    _bytes: int = 0

    @cached_property
    def _globs(self) -> GlobSet | None:
        if not self.limits.include:
            return None
        from jerichoci.machine.glob import compile_globs

        return compile_globs(self.limits.include)

    def admits(self, path: str, size: int) -> bool:
        """Whether to take the file at `path`, which has `size` bytes, holes among them."""
        if self._globs is not None and not (path.startswith(OWN) or self._globs.match(path)):
            return False
        if self._files == MOST_FILES:
            self._refuse(path, f"there are more than {MOST_FILES} files")
        elif self._bytes + size > self.limits.max_mib * MIB:
            self._refuse(
                path, f"it has {size} bytes, the limit of all is {self.limits.max_mib} MiB"
            )
        else:
            self._files += 1
            self._bytes += size
            return True
        return False

    def _refuse(self, path: str, why: str) -> None:
        self.add_refused([f"{path} ({why})"], 1)

    def add_refused(self, named: list[str], count: int) -> None:
        """Count what was refused elsewhere, too."""
        self.refused += named[: MOST_NAMED - len(self.refused)]
        self.refused_count += count

    def note(self) -> str | None:
        """What to tell of it, in one line; None if all was taken."""
        if not self.refused_count:
            return None
        more = self.refused_count - len(self.refused)
        rest = f" and {more} more" if more else ""
        named = ", ".join(self.refused)
        return f"artifacts that are too large or too many are not kept: {named}{rest}"
