"""A job in a fresh Incus guest, made for it from a prebuilt image and gone afterwards.

`docs/incus.md` says step by step what happens. No connection is held while the job runs: what it
prints and how it ends come through the directory that the guest has as /artifacts.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.guestviews import LEASE
from jerichoci.incus.api import (
    IncusError,
    InstanceSpec,
    MissingError,
    NoProgramError,
    UnreachableError,
)
from jerichoci.incus.note import (
    EXPIRY_LABEL,
    JOB_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    GuestNote,
    guest_notes,
)
from jerichoci.runtime import Attempt, Finish
from jerichoci.runtime.guest_job import CONTRACT, RUNNER, job_variables
from jerichoci.runtime.guest_mounts import (
    ARTIFACTS,
    SNAPSHOT,
    STORE,
    STORE_DIRECTORY,
    GuestMounts,
    Mount,
    interface,
    is_stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from jerichoci.gueststore import View
    from jerichoci.incus.api import Executed, Incus, Profile, StoredImage
    from jerichoci.outbox import Following
    from jerichoci.placement import Placement
    from jerichoci.record import ArtifactRecord
    from jerichoci.stop import Stop

    ResultT = TypeVar("ResultT")

NOT_READY, OTHER_CONTRACT = 69, 76
"""The runner's exit codes for a mount that isn't there yet, and for a contract it doesn't know."""
EXEC_SECS = 30.0
"""For the runner to say that it began; a host may be short of CPUs."""
CREATE_SECS = 300.0
"""For an image to be unpacked on a slow disk, and the instance made."""
UNPACK_SECS = 1800.0
"""For another process to unpack an image of some GiB on a slow disk."""
READY_SECS = {False: 60.0, True: 300.0}
"""For a guest's runner to answer, by whether it is a VM, which boots a kernel and its agent."""
NO_PROGRAM_SECS = 15.0
"""For the runner to be where it belongs: a system is put together while it boots."""
FIRST_BACKOFF_SECS, LAST_BACKOFF_SECS = 0.01, 0.5
VM_ANSWERS = 2
"""A VM's agent can come and go while it boots, so that many answers must come in a row."""
GRACE_SECS = 10.0
"""From TERM to KILL in the guest."""
KILL_SECS = 30.0
"""The runner's own limit for what it killed to be gone."""
HOST_MARGIN_SECS = 30.0
"""How much later than the guest's last deadline the host's is: the guest has the first word."""
LOOK_SECS = 2.0
"""Between two looks whether the guest is still there."""
DELETE_SECS = 60.0
KEEP_SECS = 24 * 3600.0
"""So long is a kept guest kept."""
NAME_LIMIT = 63
"""An instance's name is a host name."""

_THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="incus")
"""pylxd blocks; requests wait for operations, so there are more of them than CPUs."""


async def in_thread(work: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Call what blocks on Incus."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)


def instance_name(run_id: str, job_id: str, number: int) -> str:
    """The name of an attempt's guest, for people; its labels say the same in full."""
    import hashlib

    digest = hashlib.sha256(f"{run_id} {job_id} {number}".encode()).hexdigest()[:8]
    job = job_id.replace("_", "-")[: NAME_LIMIT - 28].strip("-")
    return f"pikaci-{run_id[-8:]}-{job}-{digest}"


class IncusGuest:
    """The `incus` runtime."""

    def __init__(self, placement: Placement, attempt: Attempt) -> None:
        self._placement = placement
        self._attempt = attempt
        self._execute = attempt.node.execute
        self._name = instance_name(attempt.run_id, attempt.node.job_id, attempt.number)
        self._notes = guest_notes(attempt.state)
        self._note: GuestNote | None = None
        self._mounts = GuestMounts()
        self._creating: asyncio.Task[None] | None = None
        self._incus: Incus | None = None
        self._is_hasty: Callable[[], bool] | None = None
        self.execution: dict[str, Any] = {}

    @property
    def _outbox(self) -> Path:
        return self._attempt.scratch / "artifacts"

    async def prepare(self) -> None:
        """Make what the guest will have mounted, and note that there will be a guest."""
        attempt = self._attempt
        await self._placement.make_directory(attempt.scratch)
        await self._placement.make_outbox(self._outbox)
        await self._placement.make_directory(attempt.artifacts.parent)
        self._mounts.add("snapshot", Mount(attempt.snapshot, SNAPSHOT))
        self._mounts.add("artifacts", Mount(self._outbox, ARTIFACTS, read_only=False))
        stored = [str(path) for path in attempt.inputs.values() if is_stored(path)]
        view = await self._placement.guest_view(stored, attempt.scratch / LEASE)
        if view is not None:
            self._mounts.add("store", Mount(view.path, STORE))
        for ref in self._execute.inputs:
            planned = attempt.inputs[ref.node_id]
            source = _shown(view, planned) if view and is_stored(planned) else planned
            payload = await self._placement.payload(planned)
            self._mounts.add_input(ref, planned, source, payload)

    async def launch(self) -> None:
        """Make the guest, wait until it is ready, and start the job."""
        self._incus = await self._placement.incus()
        site = self._placement.incus_site()
        image, profile = await in_thread(self._look_up, self._incus)
        is_vm = image.is_vm
        pool = site.pool or profile.pool or ""
        self.execution = {
            "project": site.project,
            "instance": self._name,
            "instance_type": "virtual-machine" if is_vm else "container",
            "image_alias": self._image_alias(),
            "image_fingerprint": image.fingerprint,
            "pool": pool,
        }
        spec = self._spec(image, profile, pool)
        self._note = GuestNote(
            name=self._name,
            run_id=self._attempt.run_id,
            job_id=self._attempt.node.job_id,
            placement=self._attempt.node.placement,
            socket=str(site.socket_path()),
            project=site.project,
        )
        # Before there is a guest, which may put links where files go.
        job = await self._variables()
        self._notes.write(self._note)
        began = time.monotonic()
        self._creating = asyncio.ensure_future(self._create(self._incus, spec, pool))
        await asyncio.shield(self._creating)
        self._took("create_ms", began)
        began = time.monotonic()
        await self._ready(self._incus, job, is_vm=is_vm)
        self._took("ready_ms", began)

    def _look_up(self, incus: Incus) -> tuple[StoredImage, Profile]:
        image = incus.image(self._image_alias())
        if image is None:
            raise InfrastructureError(
                f"image {self._image_alias()} is gone",
                f"import it again: `pikaci image import {self._role()}`",
            )
        name = self._placement.incus_site().profile
        profile = incus.profile(name)
        if profile is None:
            raise InfrastructureError(f"profile {name} of project {incus.project} is gone")
        return image, profile

    def _role(self) -> str:
        return str(self._attempt.node.runtime_config["role"])

    def _image_alias(self) -> str:
        return self._attempt.images[self._role()].alias

    def _spec(self, image: StoredImage, profile: Profile, pool: str) -> InstanceSpec:
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
        if image.is_vm:
            config["security.secureboot"] = "false"  # NixOS signs no kernel
        network = attempt.node.runtime_config.get("network")
        devices = interface(network, dict.fromkeys(profile.interfaces))
        if pool != profile.pool:
            devices["root"] = {"type": "disk", "path": "/", "pool": pool}
        devices |= self._mounts.devices(is_vm=image.is_vm)
        profile_name = self._placement.incus_site().profile
        return InstanceSpec(
            self._name, image.fingerprint, image.is_vm, profile_name, config, devices
        )

    async def _create(self, incus: Incus, spec: InstanceSpec, pool: str) -> None:
        """Make the guest; while the pool hasn't unpacked the image, one process at a time does."""
        if await in_thread(_copies_images, incus, pool, spec.image):
            await in_thread(incus.create, spec, CREATE_SECS)
            return
        async with self._placement.lock(f"unpack-{pool}-{spec.image[:16]}", UNPACK_SECS):
            unpacked = await in_thread(incus.is_unpacked, pool, spec.image)
            if not unpacked:
                await in_thread(incus.create, spec, CREATE_SECS)
                return
        await in_thread(incus.create, spec, CREATE_SECS)

    async def _ready(self, incus: Incus, job: dict[str, str], *, is_vm: bool) -> None:
        """Start the runner as soon as it can be; it checks contract and mounts before it does."""
        end = time.monotonic() + READY_SECS[is_vm]
        patience_with_absence = time.monotonic() + NO_PROGRAM_SECS
        check = {"PIKACI_INCUS_CONTRACT": CONTRACT, "PIKACI_INCUS_MOUNTS": self._mounts.paths}
        answers_wanted = VM_ANSWERS if is_vm else 0
        backoff = FIRST_BACKOFF_SECS
        while True:
            argv, env = ([RUNNER, "--check-contract"], check) if answers_wanted else ([RUNNER], job)
            trouble = ""
            try:
                done = await in_thread(incus.execute, self._name, argv, env, EXEC_SECS)
                trouble = self._judge(done)
            except NoProgramError as error:
                if time.monotonic() > patience_with_absence:
                    raise self._no_runner() from error
                trouble = "it has no runner yet"
            except (UnreachableError, MissingError):
                raise
            except IncusError as error:
                trouble = error.message
            if not trouble and not answers_wanted:
                return
            answers_wanted = answers_wanted - 1 if not trouble else (VM_ANSWERS if is_vm else 0)
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"guest {self._name} wasn't ready after {READY_SECS[is_vm]:g} s: {trouble}",
                    "`pikaci run --keep on-failure` keeps it for a look",
                )
            await asyncio.sleep(backoff)
            backoff = min(LAST_BACKOFF_SECS, backoff * 1.5)

    def _judge(self, done: Executed) -> str:
        """What keeps the guest from being ready; nothing if it is.

        Raises:
            InfrastructureError: it never will be.
        """
        if done.exit_code == 0:
            return ""
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("pikaci-incus-run: ")
        if done.exit_code == NOT_READY:
            return said or "it doesn't say what it lacks"
        if done.exit_code == OTHER_CONTRACT:
            raise InfrastructureError(
                f"the runner in image {self._image_alias()} has another contract than {CONTRACT}:"
                f" {said}",
                f"`pikaci image import {self._role()}` brings the one that goes with this flake",
            )
        raise InfrastructureError(
            f"the runner in image {self._image_alias()} did not start the job"
            f" (exit code {done.exit_code}): {said}"
        )

    def _no_runner(self) -> InfrastructureError:
        return InfrastructureError(
            f"image {self._image_alias()} has no runner: there is no {RUNNER} in the guest",
            f"`pikaci image build {self._role()}` makes one that has; so does any NixOS image with"
            " pikaci's guest module",
        )

    async def _variables(self) -> dict[str, str]:
        """What the runner is told of the job; what is too long for a variable in files."""
        variables, files = job_variables(self._execute, self._mounts, GRACE_SECS)
        for name, data in files.items():
            await self._placement.write(self._outbox / name, data)
        return variables

    async def wait(self, stop: Stop) -> Finish:
        """Wait for the job's result; a guest that never gives one is ended by the host."""
        self._is_hasty = stop.haste.is_set
        limit = self._execute.timeout_secs + GRACE_SECS + KILL_SECS + HOST_MARGIN_SECS
        log = self._attempt.directory / "guest.log"
        async with self._placement.following(self._outbox, log) as followed:
            result = asyncio.ensure_future(followed.result())
            gone = asyncio.ensure_future(self._watch())
            stopped = asyncio.ensure_future(stop.wait())
            waits: list[asyncio.Future[Any]] = [result, gone, stopped]
            try:
                await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                if result.done():
                    return _finish(result.result())
                if stopped.done():
                    return Finish(exit_code=None, stopped=True)
                if not gone.done():
                    return Finish(exit_code=None, timed_out=True)
                return await self._last_words(followed, gone.result())
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    async def _last_words(self, followed: Following, why: str) -> Finish:
        """The result of a guest that is gone, if it left one."""
        try:
            async with asyncio.timeout(1):
                return _finish(await followed.result())
        except TimeoutError:
            raise InfrastructureError(
                f"guest {self._name} {why} before its job was over",
                "was it out of memory, or did the job shut it down?",
            ) from None

    async def _watch(self) -> str:
        """Wait until the guest doesn't run any more; why. Incus may come and go meanwhile."""
        incus = self._reached()
        while True:
            await asyncio.sleep(LOOK_SECS)
            with suppress(IncusError):
                found = await in_thread(incus.instance, self._name)
                if found is None:
                    return "disappeared"
                if not found.is_running:
                    return f"was {found.status.lower()}"

    async def collect(self) -> list[ArtifactRecord]:
        """Take what the guest left."""
        await self._hand_over()
        into = self._attempt.artifacts.parent
        return await self._placement.collect(self._outbox, into, self._is_hasty)

    async def _hand_over(self) -> None:
        """Have the guest give its files to an orchestrator that isn't root."""
        user = self._placement.user
        if user.uid == 0:
            return
        argv = [RUNNER, "--hand-over", f"{user.uid}:{user.gid}"]
        env = {"PIKACI_INCUS_CONTRACT": CONTRACT}
        with suppress(IncusError):  # a guest that is gone: what we may read is taken
            await in_thread(self._reached().execute, self._name, argv, env, EXEC_SECS)

    async def release(self, *, keep: bool) -> None:
        """Have the guest removed, or keep it for a look."""
        kept = False
        if self._note is not None and self._creating is not None:
            await asyncio.wait({self._creating})
            whole = not self._creating.cancelled() and self._creating.exception() is None
            if not whole:
                await self._delete(self._note)
            elif keep:
                await self._keep(self._note)
                kept = True
            else:
                await self._remove(self._note)
        if not kept:
            await self._placement.remove(self._attempt.scratch)

    async def _keep(self, note: GuestNote) -> None:
        until = time.time() + KEEP_SECS
        labels = {EXPIRY_LABEL: f"{until:.0f}"}
        await in_thread(self._reached().keep, self._name, labels)
        self._notes.change(note, kept_until=until)
        self.execution["kept_until"] = until

    async def _remove(self, note: GuestNote) -> None:
        """Ask Incus to remove the guest; whether it did is seen later, off the job's path."""
        incus = self._reached()
        await in_thread(incus.stop, self._name)
        self._notes.change(note, handed_over=True)
        self.execution["removal"] = "handed_over"

    async def _delete(self, note: GuestNote) -> None:
        """Remove what was only half made."""
        await in_thread(self._reached().delete, self._name, DELETE_SECS)
        self._notes.forget(note.name)
        self.execution["removal"] = "removed"

    async def settle(self) -> None:
        """Wait until the guest is gone."""
        if self._note is None or self.execution.get("removal") != "handed_over":
            return
        await self._delete(self._note)

    def _reached(self) -> Incus:
        if self._incus is None:
            raise InfrastructureError("the guest was not launched")
        return self._incus

    def _took(self, what: str, began: float) -> None:
        self.execution[what] = round((time.monotonic() - began) * 1000)


def _copies_images(incus: Incus, pool: str, fingerprint: str) -> bool:
    """Whether nobody needs to wait: the image is unpacked, or the pool unpacks it each time."""
    return incus.is_unpacked(pool, fingerprint) or incus.pool_driver(pool) == "dir"


def _shown(view: View, output: Path) -> Path:
    """Where a view has an output, which may be a link to another path of its closure."""
    top, *inner = output.resolve().relative_to(STORE_DIRECTORY).parts
    return view.output(str(STORE_DIRECTORY / top)).joinpath(*inner)


def _finish(result: dict[str, object]) -> Finish:
    """How the job ended, as its runner says.

    Raises:
        InfrastructureError: it never ran, or the result is none.
    """
    match result:
        case {"status": "passed"}:
            return Finish(exit_code=0)
        case {"status": "failed", "exit_code": int(code)} if code != 0:
            return Finish(exit_code=code)
        case {"status": "failed", "signal": int(number)}:
            return Finish(exit_code=128 + number)
        case {"status": "timed_out", "exit_code": int(code)}:
            return Finish(exit_code=code, timed_out=True)
        case {"status": "timed_out"}:
            return Finish(exit_code=None, timed_out=True)
        case {"status": "error", "message": str(message)}:
            raise InfrastructureError(f"the job could not be run in its guest: {message}")
        case _:
            raise InfrastructureError("the guest's result is none that a runner writes")
