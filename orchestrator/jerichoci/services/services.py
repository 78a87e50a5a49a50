"""The services of one attempt: how they are started, and what became of them."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.placement import Placement, operations
from jerichoci.state.dataclass import dataclass
from jerichoci.world import NO_FACTS, Share, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.plan.services import Service

SUPERVISOR = Path(__file__).with_name("supervisor.sh")
SEEN = "/tmp/pikaci-services"  # noqa: S108 - a job's own, and short: sockets have short paths
LEFT = ".pikaci-services"
"""Among a job's artifacts, where the supervisor leaves logs and status."""
STATUS_BYTES = 64 * 1024
LINE_LENGTH = 200


class Services:
    """The services of an attempt, which has `scratch` on its host; `inputs` are as of `Attempt`."""

    facts = NO_FACTS

    def __init__(
        self,
        placement: Placement,
        services: Sequence[Service],
        inputs: Mapping[str, Path],
        scratch: Path,
        *,
        in_guest: bool,
    ) -> None:
        self._placement = placement
        self._services = services
        self._inputs = inputs
        self._directory = scratch.with_name(f"{scratch.name}-services")
        self._in_guest = in_guest

    async def enter(self) -> World:
        """Have a directory for them, which the job's mount namespace shows at a short path."""
        shares: tuple[Share, ...] = ()
        directory = SEEN
        if not self._in_guest:
            await self._placement.do(operations.make_outbox, self._directory)
            if (await self._placement.confinement()).namespaces:
                shares = (Share(self._directory, SEEN, writable=True),)
            else:
                directory = str(self._directory)
        return World(shares=shares, wraps=(partial(self._supervised, directory),))

    def _supervised(self, directory: str, command: str) -> str:
        words = ["bash", "--noprofile", "--norc", "-c", SUPERVISOR.read_text(), "pikaci-services"]
        words += [directory, command]
        for service in self._services:
            path = ":".join(str(self._inputs[node] / "bin") for node in service.path)
            words += [service.name, variable(service.name), str(service.ready_secs), path]
            words += [service.command or "", service.ready or ""]
        return f"exec {shlex.join(words)}"

    async def passed(self) -> None:
        """Nothing to publish."""

    async def leave(self) -> None:
        """Remove the directory."""
        if not self._in_guest:
            await self._placement.do(operations.remove, self._directory)


def variable(name: str) -> str:
    """The job's variable for a service's directory."""
    return f"PIKACI_SERVICE_{name.upper().replace('-', '_')}"


@dataclass(frozen=True)
class ServiceEnd:
    """What became of a service that did not run to the job's end."""

    name: str
    what: str
    """`not_ready`, `died` before it was ready, or `ended` while the job ran."""
    number: int
    """The seconds it had, or its exit code."""
    last_line: str = ""
    """The last that it, or what tells that it is ready, printed."""

    @property
    def failed_the_job(self) -> bool:
        """Whether the job's command was never run."""
        return self.what != "ended"

    def message(self) -> str:
        """It in words."""
        match self.what:
            case "not_ready":
                told = f"service {self.name} was not ready within {self.number} s (`readySecs`)"
            case "died":
                told = f"service {self.name} ended with {self.number} before it was ready"
            case _:
                told = f"service {self.name} ended with {self.number} before the job did"
        return f"{told}: {self.last_line}" if self.last_line else told


def take_services(files: Path, into: Path, names: Sequence[str]) -> list[ServiceEnd]:
    """Move the logs of services from a job's artifacts, and tell which of them ended early."""
    left = files / LEFT
    try:
        status = (left / "status").read_text("utf-8", "replace")[:STATUS_BYTES]
    except OSError:
        status = ""
    into.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        log = left / f"{name}.log"
        if log.is_file():
            log.replace(into / f"{name}.log")
    ends = []
    for line in status.splitlines():
        match line.split(" "):
            case [("not_ready" | "died" | "ended") as what, name, number] if (
                name in names and number.isdecimal()
            ):
                last = _last_line(into / f"{name}.log")
                ends.append(ServiceEnd(name, what, int(number[:6]), last))
    return ends


def _last_line(log: Path) -> str:
    """The last line of a log, bounded and without what a terminal would act on."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - STATUS_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    shown = ("".join(filter(str.isprintable, line)).strip() for line in reversed(lines))
    return next(filter(None, shown), "")[:LINE_LENGTH]
