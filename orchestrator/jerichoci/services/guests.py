"""Services that are guests of their own, on a private bridge beside the guest of their job.

The bridge is made for one attempt and leads nowhere else. Its dnsmasq knows each service by its
name. What is made is noted first, so that `reap` finds it whatever happens to this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, ServiceError
from jerichoci.machine.gather import together
from jerichoci.placement.operations import lock
from jerichoci.runtime.guest_mounts import interface
from jerichoci.runtime.incus.api import JOB_LABEL, OWNER_LABEL, RUN_LABEL, IncusError
from jerichoci.runtime.incus.client import Incus, open_incus
from jerichoci.runtime.incus.guest import DELETE_SECS, instance_name
from jerichoci.runtime.incus.image import import_image, take_image
from jerichoci.runtime.incus.image_files import files_in
from jerichoci.runtime.incus.images import IMPORT_SECS
from jerichoci.runtime.incus.start import GuestStart, guest_body
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.runtime.job_guest import kept_until
from jerichoci.services.services import variable
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ledger import GuestNote, incus_guests
from jerichoci.world import World

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from jerichoci.placement import Placement
    from jerichoci.plan.services import Service
    from jerichoci.runtime.incus.api import Profile, StoredImage
    from jerichoci.state.layout import StateLayout

PATH = "/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where `ready` finds programs in a service's guest, be it NixOS or not."""
FIRST_PAUSE_SECS, LAST_PAUSE_SECS = 0.02, 0.5
DOMAIN = "services"
BRIDGE_LOCK_SECS = 60.0
NETWORKS = 512
BRIDGE_SECS = 10.0
"""For the job's guest to be gone from the bridge."""
LOG_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ServiceImage:
    """What a service's guest is made of: what a derivation built, where its files are."""

    drv_path: str
    files: Path
    """On this machine."""


@dataclass(frozen=True)
class OfAttempt:
    """The attempt that has the services."""

    state: StateLayout
    run_id: str
    target_id: str
    job_id: str
    number: int
    directory: Path
    """Its directory among the records."""


class ServiceGuests:
    """The services of an attempt that are guests; `images` by service."""

    def __init__(
        self,
        placement: Placement,
        services: Sequence[Service],
        images: Mapping[str, ServiceImage],
        attempt: OfAttempt,
    ) -> None:
        self._placement = placement
        self._services = services
        self._images = images
        self._attempt = attempt
        self._notes = incus_guests(attempt.state)
        self._incus: Incus | None = None
        self._owner = attempt.state.owner_id()
        self._bridge = bridge_name(self._owner, attempt)
        self._made: list[GuestNote] = []
        self.facts: dict[str, Any] = {}

    def _instance(self, service: Service) -> str:
        name = f"{self._attempt.job_id}.{service.name}"
        made = instance_name(self._owner, self._attempt.run_id, name, self._attempt.number)
        return made.replace(".", "-")

    async def enter(self) -> World:
        """Have each of them ready on the bridge."""
        incus = self._incus = await open_incus(self._placement)
        site = self._placement.incus_settings()
        profile = await in_thread(incus.profile, site.profile)
        if profile is None:
            raise InfrastructureError("the profile of guests is gone", "`pikaci doctor` shows more")
        stored = {row.name: await self._imported(incus, row) for row in self._services}
        await self._make_bridge(incus)
        self.facts = {
            "service_bridge": self._bridge,
            "service_guests": {row.name: self._instance(row) for row in self._services},
        }
        await together(
            *(self._start(incus, row, stored[row.name], profile) for row in self._services)
        )
        env = {variable(row.name): row.name for row in self._services}
        return World(env=env, network=self._bridge)

    async def _imported(self, incus: Incus, service: Service) -> StoredImage:
        """The service's image on the host, which gets it if it doesn't have it."""
        attempt, image = self._attempt, self._images[service.name]
        alias = f"pikaci/service/{attempt.target_id}/{attempt.job_id}/{service.name}"
        name = f"image-{hashlib.sha256(image.drv_path.encode()).hexdigest()[:16]}"
        async with self._placement.hold(lock, name, IMPORT_SECS):
            done = await in_thread(take_image, incus, alias, image.drv_path)
            if done is None:
                files = await asyncio.to_thread(files_in, image.files)
                done = await in_thread(import_image, incus, files, alias, image.drv_path)
        rows = await in_thread(incus.images)
        found = next((row for row in rows if row.fingerprint == done.fingerprint), None)
        if found is None:
            raise InfrastructureError(f"the image of service {service.name} is gone from the host")
        return found

    async def _make_bridge(self, incus: Incus) -> None:
        names = [f"cname={row.name},{row.name}.{DOMAIN}" for row in self._services]
        names += [
            f"cname={row.name}.{DOMAIN},{self._instance(row)}.{DOMAIN}" for row in self._services
        ]
        config = {
            "ipv4.nat": "false",
            "ipv6.address": "none",
            "dns.domain": DOMAIN,
            "raw.dnsmasq": "\n".join([*names, "no-resolv", "dhcp-option=3"]),
            **self._labels(self._attempt.job_id),
        }
        self._note(self._bridge, self._attempt.job_id)
        try:
            async with self._placement.hold(lock, "service-bridge", BRIDGE_LOCK_SECS):
                used = {
                    row.get("ipv4.address") for row in (await in_thread(incus.bridges, {})).values()
                }
                config["ipv4.address"] = free_address(self._bridge, used)
                await in_thread(incus.create_bridge, self._bridge, config)
        except IncusError as error:
            error.hint = error.hint or "services that are guests need a bridge of their own"
            raise

    def _labels(self, job: str) -> dict[str, str]:
        return {RUN_LABEL: self._attempt.run_id, JOB_LABEL: job, OWNER_LABEL: self._owner}

    def _note(self, name: str, job_id: str) -> None:
        """Note what is made next."""
        site = self._placement.incus_settings()
        note = GuestNote(
            name=name,
            run_id=self._attempt.run_id,
            job_id=job_id,
            host=self._placement.host if self._placement.is_remote else None,
            socket=str(site.socket_path()),
            project=site.project,
        )
        self._notes.write(note)
        self._made.append(note)

    async def _start(
        self, incus: Incus, service: Service, image: StoredImage, profile: Profile
    ) -> None:
        name = self._instance(service)
        job = f"{self._attempt.job_id}.{service.name}"
        site = self._placement.incus_settings()
        pool = site.pool or profile.pool or ""
        devices = interface(self._bridge, profile.interfaces)
        if site.pool not in {None, profile.pool}:
            devices["root"] = {"type": "disk", "path": "/", "pool": pool}
        body = guest_body(image, site.profile, devices) | {"name": name}
        body["config"] |= self._labels(job)
        unpacked = await in_thread(incus.is_unpacked, pool, image.fingerprint)
        self._note(name, job)
        start = GuestStart(self._placement, incus, service.name, service.name)
        await start.create(body, pool, None if unpacked else image.fingerprint)
        await self._wait(incus, service, name)

    async def _wait(self, incus: Incus, service: Service, name: str) -> None:
        """Wait until it has an address and `ready` succeeds."""
        end, pause = time.monotonic() + service.ready_secs, FIRST_PAUSE_SECS
        argv = ["bash", "--noprofile", "--norc", "-c", service.ready or "true"]
        last, is_ready = b"", False
        while True:
            left = end - time.monotonic()
            if left <= 0:
                break
            try:
                if not is_ready:
                    done = await in_thread(incus.execute, name, argv, {"PATH": PATH}, left)
                    is_ready, last = done.exit_code == 0, done.stderr.strip() or last
                if is_ready and await in_thread(incus.has_address, name):
                    return
            except IncusError as error:
                last = error.message.encode()
                if await in_thread(incus.instance, name) is None:
                    raise ServiceError(
                        f"service {service.name} ended before it was ready"
                    ) from error
            await asyncio.sleep(pause)
            pause = min(LAST_PAUSE_SECS, pause * 1.5)
        lines = last.decode("utf-8", "replace").splitlines()
        why = "it has no address" if is_ready else lines[-1][:200] if lines else ""
        told = f"service {service.name} was not ready within {service.ready_secs} s (`readySecs`)"
        raise ServiceError(f"{told}: {why}" if why else told)

    async def passed(self) -> None:
        """Nothing to publish."""

    async def leave(self) -> None:
        """Keep their logs; remove them, and the bridge if the job's guest isn't kept on it."""
        incus = self._incus
        if incus is None:
            return
        await together(*(self._save_log(incus, row) for row in self._services))
        bridge = [note for note in self._made if note.name == self._bridge]
        guests = [note for note in self._made if note.name != self._bridge]
        await together(*(self._remove(incus, note) for note in guests))
        for note in bridge:
            await self._remove_bridge(incus, note)

    async def _save_log(self, incus: Incus, service: Service) -> None:
        """What its console has, which is the newest of what its system said."""
        if not any(note.name == self._instance(service) for note in self._made):
            return
        directory = self._attempt.directory / "services"
        directory.mkdir(mode=0o700, exist_ok=True)
        said = await in_thread(incus.console, self._instance(service))
        (directory / f"{service.name}.log").write_bytes(said[-LOG_BYTES:])

    async def _remove(self, incus: Incus, note: GuestNote) -> None:
        await in_thread(incus.delete, note.name, DELETE_SECS)
        self._notes.forget(note.name)

    async def _remove_bridge(self, incus: Incus, note: GuestNote) -> None:
        """Remove the bridge once the job's guest has left it, which Incus is removing."""
        end = time.monotonic() + BRIDGE_SECS
        while True:
            try:
                await in_thread(incus.delete_bridge, note.name)
            except IncusError:
                if time.monotonic() > end:
                    # The job's guest is kept on it. `reap` removes both when their time is over.
                    self._notes.change(note, kept_until=kept_until())
                    return
            else:
                self._notes.forget(note.name)
                return
            await asyncio.sleep(LAST_PAUSE_SECS / 5)


def free_address(bridge: str, used: Collection[str | None]) -> str:
    """An address with its network for a bridge, out of a range that is routed nowhere (RFC 2544).

    Incus finds one itself only on hosts that have `ping`, and tries each by it.
    """
    first = int(bridge[-8:], 16)
    for number in range(first, first + NETWORKS):
        found = f"198.{18 + number // 256 % 2}.{number % 256}.1/24"
        if found not in used:
            return found
    raise InfrastructureError("there is no network left for a bridge of services")


def bridge_name(owner: str, attempt: OfAttempt) -> str:
    """An interface's name, of at most 15 characters, that no other attempt uses."""
    whole = f"{owner} {attempt.run_id} {attempt.job_id} {attempt.number}"
    return f"pikaci-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
