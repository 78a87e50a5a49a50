"""What the jobs that a job needs left: their artifacts, read-only, as `$PIKACI_INPUT_<JOB>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.placement import Placement, operations
from jerichoci.world import NO_FACTS, Share, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jerichoci.plan.artifacts import JobInput


class JobInputs:
    """The inputs of one attempt; `files` says where on this machine each job's artifacts are.

    A process of a host sees them beside `scratch`, the attempt's own directory there; a guest at
    their guest paths. Where there are no namespaces, the job could write to them.
    """

    facts = NO_FACTS

    def __init__(
        self,
        placement: Placement,
        inputs: Sequence[JobInput],
        files: Mapping[str, Path],
        scratch: Path,
        *,
        in_guest: bool,
    ) -> None:
        self._placement = placement
        self._inputs = inputs
        self._files = files
        self._below = scratch.with_name(f"{scratch.name}-inputs")
        self._in_guest = in_guest

    async def enter(self) -> World:
        """Have the files on the job's host."""
        env, shares = {}, []
        confinement = await self._placement.confinement()
        for given in self._inputs:
            there, files = self._below / given.job_id, self._files[given.job_id]
            files.mkdir(exist_ok=True, parents=True)  # it may have left none
            source = await self._placement.have_files(files, there / "files")
            seen = given.guest_path if self._in_guest else str(there / "seen")
            if self._in_guest or confinement.namespaces:
                shares.append(Share(source, seen))
            env[given.env] = seen if shares else str(source)
        return World(env=env, shares=tuple(shares))

    async def passed(self) -> None:
        """Nothing to publish."""

    async def leave(self) -> None:
        """Remove what was brought to the host."""
        await self._placement.do(operations.remove, self._below)
