"""A job in a fresh Incus guest, made for it from a prebuilt image and removed afterwards.

`docs/incus.md` describes each step. No connection is held while the job runs: its output and its
result come through the directory that the guest has as /artifacts.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.secret_files import REDACTOR, named
from jerichoci.placement import Placement, operations
from jerichoci.plan.network import HOSTS_OWN, AllowedNetwork
from jerichoci.plan.payload import read_payload_on
from jerichoci.runtime import Attempt, Finish, job_guest
from jerichoci.runtime.guest_mounts import (
    ARTIFACTS,
    SNAPSHOT,
    STORE,
    GuestMounts,
    Mount,
    interface,
    is_stored,
    view_of_inputs,
)
from jerichoci.runtime.guest_runner import (
    JOB_FILE,
    REDACTOR_FILE,
    first_on_path,
    hand_over_command,
    home_of,
    job_variables,
    stop_command,
)
from jerichoci.runtime.incus.api import (
    EXPIRY_LABEL,
    JOB_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    IncusError,
    Profile,
    StoredImage,
)
from jerichoci.runtime.incus.check import GuestSurvey, survey
from jerichoci.runtime.incus.client import Incus, open_incus
from jerichoci.runtime.incus.standby import Pool, Wanted
from jerichoci.runtime.incus.start import EXEC_SECS, GuestStart, guest_body, waits
from jerichoci.runtime.incus.thread import in_thread, in_thread_at_last
from jerichoci.runtime.job_guest import JobGuest, kept_until
from jerichoci.state.ledger import GuestNote, incus_guests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.stop import Stop

BEGIN_SECS = 10.0
"""For a guest that waits for its job to begin it; else it is told to."""
LOOK_SECS = 2.0
"""Between two looks whether the guest is still there."""
DELETE_SECS = 60.0
UNLIMITED_DRIVER = "dir"
"""Of pools in which a disk has no limit."""
NAME_LIMIT = 63
"""An instance's name is a host name."""


def instance_name(owner: str, run_id: str, job_id: str, number: int) -> str:
    """The name of an attempt's guest, for people; its labels have the same in full.

    No other state root uses it, even if its caller chose the same run id.
    """
    import hashlib

    digest = hashlib.sha256(f"{owner} {run_id} {job_id} {number}".encode()).hexdigest()[:8]
    job = job_id.replace("_", "-")[: NAME_LIMIT - 28].strip("-")
    return f"pikaci-{run_id[-8:]}-{job}-{digest}"


class IncusGuest(JobGuest):
    """The `incus` runtime."""

    def __init__(self, placement: Placement, attempt: Attempt) -> None:
        owner = attempt.state.owner_id()
        name = instance_name(owner, attempt.run_id, attempt.node.job_id, attempt.number)
        super().__init__(placement, attempt, name, incus_guests(attempt.state))
        self._role = str(self._config["role"])
        self._alias = attempt.images[self._role].alias
        self._mounts = GuestMounts()
        self._start: GuestStart | None = None
        self._having: asyncio.Future[None] | None = None
        self._wanted: Wanted | None = None
        """What may stand by for this job and for later ones, if any may."""
        self._leaving: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._incus: Incus | None = None
        self._is_overdue: Callable[[], bool] | None = None
        self._was_handed_over = False

    async def prepare(self) -> None:
        """Make what the guest mounts."""
        attempt = self._attempt
        await self._make_outbox()
        self._mounts.add("snapshot", Mount(attempt.snapshot, SNAPSHOT))
        self._mounts.add("artifacts", Mount(self._outbox, ARTIFACTS, read_only=False))
        view = await view_of_inputs(self._placement, attempt)
        if view is not None:
            self._mounts.add("store", Mount(view.path, STORE))
        for ref in self._execute.inputs:
            planned = attempt.inputs[ref.node_id]
            source = view.outputs[str(planned)] if view and is_stored(planned) else planned
            payload = await read_payload_on(self._placement, planned)
            self._mounts.add_input(ref, planned, source, payload)
        self._mounts.add_world(attempt.world, home_of(self._execute))

    async def launch(self) -> None:
        """Have a guest, wait until it is ready, and start the job."""
        self._incus = await open_incus(self._placement)
        site = self._placement.incus_settings()
        found = await self._survey(self._incus)
        image, pool = found.images.get(self._alias), found.pool
        if image is None:
            raise InfrastructureError(
                f"image {self._alias} is gone", "import it again: `pikaci image import`"
            )
        if found.profile is None:
            raise InfrastructureError("the profile of guests is gone", "`pikaci doctor` shows more")
        body = self._body(image, found.profile)
        self.execution = {
            "project": site.project,
            "instance": self.name,
            "instance_type": body["type"],
            "image_alias": self._alias,
            "image_fingerprint": image.fingerprint,
            "pool": pool,
        }
        await self._record_disk(self._incus, pool)
        # Before the guest exists, which may put links where these files belong.
        job, files = job_variables(self._execute, self._mounts, job_guest.GRACE_SECS)
        job |= first_on_path(self._attempt.world.path)
        secrets = self._attempt.world.secrets
        if secrets:
            job["PIKACI_INCUS_REDACTOR"] = f"{ARTIFACTS}/{REDACTOR_FILE}"
            files[REDACTOR_FILE] = REDACTOR.read_bytes()
        begins_itself = waits(image) and not secrets
        if begins_itself:
            files[JOB_FILE] = json.dumps(job).encode("utf-8", "surrogateescape")
        for name, data in files.items():
            await self._placement.do(operations.write, self._outbox / name, data)
        began = time.monotonic()
        self._start = GuestStart(self._placement, self._incus, self._role, self._alias)
        if self._may_stand_by(image):
            self._wanted = Wanted(self._alias, body, found.profile)
        own = self._own_config(), self._mounts.devices(is_vm=image.is_vm)
        to_unpack = None if image.fingerprint in found.unpacked else image.fingerprint
        having = self._have_guest(self._start, body, own, pool or "", to_unpack)
        self._having = asyncio.ensure_future(having)
        await asyncio.shield(self._having)
        self._took("create_ms", began)
        began = time.monotonic()
        do = self._placement.do
        if not begins_itself or not await do(operations.has_begun, self._outbox, BEGIN_SECS):
            told = named(secrets) if secrets else b""
            await self._start.ready(self.name, job, self._mounts.paths, told, is_vm=image.is_vm)
        self._took("ready_ms", began)

    async def _have_guest(
        self,
        start: GuestStart,
        body: Mapping[str, Any],
        own: tuple[dict[str, str], dict[str, dict[str, str]]],
        pool: str,
        to_unpack: str | None,
    ) -> None:
        """Claim a guest that stands by, or make one: of `body`, with what is the job's own."""
        config, devices = own
        site = self._placement.incus_settings()
        socket = str(site.socket_path())
        if self._wanted is not None:
            note_for = partial(self._note_for, socket=socket, project=site.project)
            claim = self._standing_by().claim
            self._note = await in_thread(claim, self._wanted, note_for, config, devices)
        if self._note is not None:
            self.name = self.execution["instance"] = self._note.name
            self.execution["stood_by"] = True
            return
        self._write_note(socket=socket, project=site.project)
        whole = {
            **body,
            "name": self.name,
            "config": {**body["config"], **config},
            "devices": {**body["devices"], **devices},
        }
        await start.create(whole, pool, to_unpack)

    def _may_stand_by(self, image: StoredImage) -> bool:
        """Whether a guest like this one can be there before its job."""
        return (
            self._placement.standby_settings().guests > 0
            and not image.is_vm
            and self._execute.resources.disk_mib is None
            and self._attempt.world.interface is None
        )

    def _standing_by(self) -> Pool:
        placement, site = self._placement, self._placement.incus_settings()
        settings = placement.standby_settings()
        return Pool(self._attempt.state, self._reached(), str(site.socket_path()), settings)

    async def _survey(self, incus: Incus) -> GuestSurvey:
        """What the check before the run found; a second attempt looks again."""
        known = self._attempt.survey
        if isinstance(known, GuestSurvey) and self._attempt.number == 1:
            return known
        site = self._placement.incus_settings()
        return await in_thread(survey, incus, site, [self._alias])

    def _own_config(self) -> dict[str, str]:
        """The labels and limits of the job's guest."""
        attempt, resources = self._attempt, self._execute.resources
        config = {
            RUN_LABEL: attempt.run_id,
            JOB_LABEL: attempt.node.job_id,
            OWNER_LABEL: attempt.state.owner_id(),
        }
        if resources.cpus is not None:
            config["limits.cpu"] = str(resources.cpus)
        if resources.memory_mib is not None:
            config["limits.memory"] = f"{resources.memory_mib}MiB"
        if resources.pids is not None:
            config["limits.processes"] = str(resources.pids)
        return config

    def _body(self, image: StoredImage, profile: Profile) -> dict[str, Any]:
        """The request for a guest like the job's, without a name and what is the job's own."""
        attempt, resources = self._attempt, self._execute.resources
        network = attempt.world.network or self._config.get("network")
        named = attempt.world.interface
        if isinstance(self._execute.network, AllowedNetwork) and not (named and network):
            raise UsageError(f"job {attempt.node.job_id} has an allow list and no bridge")
        has_profiles = network is None and self._execute.network == HOSTS_OWN
        devices = {} if has_profiles else interface(network, profile.interfaces, named)
        site = self._placement.incus_settings()
        if site.pool not in {None, profile.pool} or resources.disk_mib is not None:
            devices["root"] = {"type": "disk", "path": "/", "pool": site.pool or profile.pool or ""}
        if resources.disk_mib is not None:
            devices["root"]["size"] = f"{resources.disk_mib}MiB"
        return guest_body(image, site.profile, devices)

    async def _record_disk(self, incus: Incus, pool: str | None) -> None:
        """Record whether the limit of the disk holds, where the job asks for one."""
        if self._execute.resources.disk_mib is None:
            return
        driver = await in_thread(incus.pool_driver, pool or "")
        self.execution["disk"] = "not_limited" if driver == UNLIMITED_DRIVER else "limited"
        if driver == UNLIMITED_DRIVER:
            self._attempt.note(
                f"`resources.diskMib` may be no limit: the pool {pool} is a directory, of which"
                " Incus limits nothing without project quotas"
            )

    async def wait(self, stop: Stop) -> Finish:
        """Wait for the job's result; a guest that never gives one is ended by the host."""
        self._is_overdue = stop.is_overdue
        finish = await super().wait(stop)
        if self._execute.resources.memory_mib and not finish.memory_limited:
            self._attempt.note(
                f"{self._execute.resources.memory_mib} MiB (`resources.memoryMib`) were no limit:"
                " Incus can limit no memory on this host (`pikaci doctor`)"
            )
        return finish

    async def stop_job(self) -> None:
        """Have the runner stop the job."""
        await self._tell_runner(*stop_command())

    async def _tell_runner(self, argv: list[str], env: dict[str, str]) -> None:
        """Run the runner without needing its answer; no error if the guest is gone."""
        with suppress(IncusError):
            await self._at_last(self._reached().execute, self.name, argv, env, EXEC_SECS)

    def finished(self) -> None:
        """Request the guest's removal while its files are read, if it is not needed any more."""
        if not self._attempt.may_be_kept and self._placement.user.uid == 0:
            self._stopping = asyncio.ensure_future(self._at_last(self._reached().stop, self.name))
        if self._wanted is not None:
            self._leaving = asyncio.ensure_future(
                in_thread(self._standing_by().leave, self._wanted)
            )

    async def gone(self) -> str:
        """Ask Incus now and then; it may be restarted meanwhile."""
        look = partial(self._reached().instance, self.name, patient=False)
        while True:
            await asyncio.sleep(LOOK_SECS)
            with suppress(IncusError):
                found = await in_thread(look)
                if found is None:
                    return "disappeared"
                if not found.is_running:
                    return f"was {found.status.lower()}"

    async def collect(self, is_over: Callable[[], bool]) -> list[Artifact]:
        """Take what the guest left."""
        await self._hand_over()
        return await super().collect(is_over)

    async def _hand_over(self) -> None:
        """Have the guest change the owner of its files, for an orchestrator that isn't root."""
        user = self._placement.user
        if user.uid == 0 or self._was_handed_over:
            return
        self._was_handed_over = True
        # If the guest is gone, only files that we may read are collected.
        await self._tell_runner(*hand_over_command(user.uid, user.gid))

    async def release(self, *, keep: bool) -> None:
        """Have the guest removed, or keep it for a look."""
        kept = False
        if self._start is not None:
            self._start.is_given_up = True
        if self._having is not None:
            await asyncio.wait({self._having})
        if self._note is not None and self._having is not None:
            whole = not self._having.cancelled() and self._having.exception() is None
            if not whole:
                await self._delete(self._note)
            elif keep:
                await self._keep(self._note)
                kept = True
            else:
                await self._remove(self._note)
        await self._leave(kept=kept)
        if self._leaving is not None:
            await asyncio.wait({self._leaving})

    async def _keep(self, note: GuestNote) -> None:
        until = kept_until()
        labels = {EXPIRY_LABEL: f"{until:.0f}"}
        await self._at_last(self._reached().keep, self.name, labels)
        self._note_kept(note, until)

    async def _remove(self, note: GuestNote) -> None:
        """Request the guest's removal; a later check confirms it, outside the job's time."""
        if self._stopping is not None:
            await self._stopping
        else:
            await self._hand_over()  # or its directory can't be removed
            await self._at_last(self._reached().stop, self.name)
        self._notes.change(note, removal_requested=True)
        self.execution["removal"] = "handed_over"

    async def _delete(self, note: GuestNote) -> None:
        """Remove a half made guest."""
        await in_thread(self._reached().delete, self.name, DELETE_SECS)
        self._notes.forget(note.name)
        self.execution["removal"] = "removed"

    async def wait_removed(self) -> None:
        """Wait until the guest is gone."""
        if self._note is None or self.execution.get("removal") != "handed_over":
            return
        await self._delete(self._note)

    async def _at_last(self, work: Callable[..., object], *arguments: object) -> None:
        """Do the clean-up of a finished job, waiting for a daemon that is shutting down."""
        await in_thread_at_last(self._is_overdue or (lambda: True), work, *arguments)

    def _reached(self) -> Incus:
        if self._incus is None:
            raise InfrastructureError("the guest was not launched")
        return self._incus
