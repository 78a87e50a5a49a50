"""The world of an attempt: the parts that its node asks for, entered and left in order.

A part's module is imported only for a job that asks for it.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError, UsageError
from jerichoci.plan.network import AllowedNetwork
from jerichoci.plan.plan import NixBuild, PrepareNode
from jerichoci.run.runtimes import is_guest
from jerichoci.state.dataclass import dataclass
from jerichoci.status import CacheUse
from jerichoci.world import World, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jerichoci.plan.artifacts import JobInput
    from jerichoci.plan.plan import ExecuteNode, Image
    from jerichoci.plan.services import Service
    from jerichoci.run.context import RunContext
    from jerichoci.run.fleet import RunHost
    from jerichoci.run.request import RunRequest
    from jerichoci.state.layout import StateLayout
    from jerichoci.world import Part

    FoundSecrets = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Asked:
    """The attempt that a part is made for."""

    run: RunContext
    host: RunHost
    node: ExecuteNode
    number: int
    inputs: Mapping[str, Path]
    """Where the prepared outputs are on the host, by node id."""
    directory: Path
    """Its directory among the records, on this machine."""
    scratch: Path
    """Its directory on the job's host, below which a part makes what is the attempt's own."""
    note: Callable[[str], None]


async def find_secrets(state: StateLayout, request: RunRequest) -> FoundSecrets:
    """The secrets of the jobs that are to run, by node and name.

    Raises:
        UsageError: one is missing.
    """
    selected = request.selected() if not request.skip_reason else set()
    asking = [node for node in request.plan.jobs if node.id in selected and node.execute.secrets]
    if not asking:
        return {}
    from jerichoci.secrets.finding import find_secrets as find

    return await find(state.root, request.source.tree, asking, request.branch)


def _parts(asked: Asked) -> Iterator[Part]:
    """The parts that a node asks for, in the order in which they are entered."""
    execute = asked.node.execute
    if execute.path or execute.pass_env or execute.dev_shell:
        from jerichoci.world.tools import Tools

        yield Tools(execute, asked.inputs, os.environ)
    if execute.job_inputs:
        from jerichoci.world.job_inputs import JobInputs

        yield JobInputs(
            asked.host.placement,
            execute.job_inputs,
            _files_of(asked.run, execute.job_inputs),
            asked.scratch,
            in_guest=is_guest(asked.node),
        )
    if execute.caches and asked.run.request.cache_use is not CacheUse.OFF:
        from jerichoci.caches.caches import CacheContext, Caches, Guest
        from jerichoci.snapshot.repository import Repository

        request, guest = asked.run.request, None
        if is_guest(asked.node):
            image = _image_of(asked)
            guest = Guest(image.alias, is_vm=image.is_vm, as_root=execute.run_as_root)
        context = CacheContext(
            use=request.cache_use,
            owner=asked.run.state.owner_id(),
            target=request.plan.target_id,
            run_id=asked.run.run_id,
            repository=Repository.at(asked.run.state.root),
            tree=request.source.snapshot_id,
            guest=guest,
        )
        yield Caches(asked.host.placement, execute.caches, context, asked.scratch, asked.note)
    if isinstance(execute.network, AllowedNetwork) and is_guest(asked.node):
        yield _guest_gate(asked, execute.network.allow)
    if guests := [service for service in execute.services if service.image]:
        yield _service_guests(asked, guests)
    if commands := [service for service in execute.services if not service.image]:
        from jerichoci.services.services import Services

        yield Services(
            asked.host.placement,
            commands,
            asked.inputs,
            asked.scratch,
            in_guest=is_guest(asked.node),
        )
    if execute.secrets:
        from jerichoci.secrets.part import Secrets

        given = asked.run.secrets.get(asked.node.id, {})
        yield Secrets(execute.secrets, given, asked.run.request.branch, asked.note)


def _image_of(asked: Asked) -> Image:
    """The image of the job's Incus guest."""
    images = {image.role: image for image in asked.run.plan.images}
    return images[asked.node.runtime_config["role"]]


def _guest_gate(asked: Asked, allow: Sequence[str]) -> Part:
    from jerichoci.network.guest_gate import GuestGate

    node, bridge = asked.node, asked.node.runtime_config.get("network")
    if not bridge or _image_of(asked).is_vm:
        raise UsageError(
            f"job {node.job_id} can't have `network.allow`: only containers on a bridge can",
            'give its image `instanceType = "container"`, and the job `incus.network`',
        )
    names = [asked.run.state.owner_id(), asked.run.run_id, node.job_id, str(asked.number)]
    return GuestGate(asked.host.placement, bridge, allow, asked.scratch, names)


def _service_guests(asked: Asked, services: Sequence[Service]) -> Part:
    from jerichoci.services.guests import OfAttempt, ServiceGuests, ServiceImage

    images = {}
    for service in services:
        node = next(row for row in asked.run.plan.nodes if row.id == service.image)
        if not isinstance(node, PrepareNode) or not isinstance(node.prepare, NixBuild):
            raise UsageError(f"the image of service {service.name} is no derivation's output")
        drv_path, out_path = node.prepare.drv_path, node.prepare.out_path
        images[service.name] = ServiceImage(str(drv_path), Path(str(out_path)))
    attempt = OfAttempt(
        state=asked.run.state,
        run_id=asked.run.run_id,
        target_id=asked.run.plan.target_id,
        job_id=asked.node.job_id,
        number=asked.number,
        directory=asked.directory,
    )
    return ServiceGuests(asked.host.placement, services, images, attempt)


def _files_of(run: RunContext, inputs: Sequence[JobInput]) -> dict[str, Path]:
    """Where the artifacts are of each job that is needed, which has passed."""
    layout = run.writer.layout
    return {
        given.job_id: layout.attempt(given.job_id, run.writer.job(given.job_id).attempt)
        / "artifacts/files"
        for given in inputs
    }


class AttemptWorld:
    """All parts of one attempt."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._entered: list[Part] = []

    async def enter(self) -> World:
        """Have all of it ready."""
        worlds = []
        for part in _parts(self._asked):
            self._entered.append(part)
            worlds.append(await part.enter())
        return merged(*worlds)

    def facts(self) -> dict[str, Any]:
        """What the parts have to say of themselves, for the record."""
        return {name: fact for part in self._entered for name, fact in part.facts.items()}

    async def passed(self) -> None:
        """Tell the parts that the job passed; what fails there is noted."""
        for part in self._entered:
            try:
                await part.passed()
            except Exception as error:  # noqa: BLE001 - the verdict is decided
                self._failed(error)

    async def leave(self) -> None:
        """Leave the parts, the last one first; what fails there is noted."""
        for part in reversed(self._entered):
            try:
                await part.leave()
            except Exception as error:  # noqa: BLE001 - the others are left, too
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Note what failed; of an error of pikaci's own the log has the traceback."""
        if not isinstance(error, PikaciError | OSError):
            job = self._asked.node.job_id
            self._asked.run.logs.say([job], "pikaci", "".join(traceback.format_exception(error)))
        self._asked.note(str(error) or repr(error))
