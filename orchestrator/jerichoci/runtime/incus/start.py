"""Making an Incus guest and starting a job in it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from jerichoci.errors import InfrastructureError
from jerichoci.placement.operations import lock
from jerichoci.runtime.guest_mounts import ARTIFACTS
from jerichoci.runtime.guest_runner import (
    CONTRACT,
    JOB_FILE,
    RUNNER,
    SECRETS_FILE,
    WAITS,
    WAITS_FOR,
)
from jerichoci.runtime.incus.api import (
    Executed,
    IncusError,
    MissingError,
    NoProgramError,
    UnreachableError,
)
from jerichoci.runtime.incus.thread import in_thread_at_last

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from jerichoci.placement import Placement
    from jerichoci.runtime.incus.api import StoredImage
    from jerichoci.runtime.incus.client import Incus

    ResultT = TypeVar("ResultT")

NOT_READY, OTHER_CONTRACT = 69, 76
"""The runner's exit codes for a mount that isn't there yet, and for a contract it doesn't know."""
EXEC_SECS = 30.0
"""For the runner to report that it began; a host may be short of CPUs."""
CREATE_SECS = 300.0
"""For an image to be unpacked on a slow disk, and the instance made."""
UNPACK_SECS = 1800.0
"""For another process to unpack an image of some GiB on a slow disk."""
READY_SECS = {False: 60.0, True: 300.0}
"""For a guest's runner to answer, by whether it is a VM, which boots a kernel and its agent."""
NO_PROGRAM_SECS = 15.0
"""For the runner to exist: a system is assembled while it boots."""
FIRST_BACKOFF_SECS, LAST_BACKOFF_SECS = 0.01, 0.5
KILLED = 137
OUT_OF_MEMORY = "was the guest out of memory? raise the job's `resources.memoryMib`"
FULL = "Reached maximum"
"""In Incus's error where a project's limit is reached."""
NOT_STARTED = "incusd fork"
"""Likewise where LXC could not start a container: Incus has a log of the reason."""
HYBRID = "Unsupported cgroup layout"
"""In that log where LXC 7 finds cgroups of version 1."""
LXC_ERROR = re.compile(r"^lxc \S+ \S+ +ERROR .*?:\d+ - (.+)$", re.MULTILINE)
UNSHIFTED = "idmapping abilities are required"
"""Likewise where a file system can't show the guest files with other owners."""
VM_ANSWERS = 2
"""A VM's agent can come and go while it boots, so that many answers must come in a row."""


def guest_body(
    image: StoredImage, profile: str, devices: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The request for a guest without its name: ephemeral, so Incus removes it when it stops."""
    # NixOS signs no kernel; and no container is privileged, even if the profile says so.
    security = "security.secureboot" if image.is_vm else "security.privileged"
    config = {"security.guestapi": "false", security: "false"}
    if waits(image):
        config[WAITS_FOR] = f"{ARTIFACTS}/{JOB_FILE}"
    return {
        "type": "virtual-machine" if image.is_vm else "container",
        "source": {"type": "image", "fingerprint": image.fingerprint},
        "profiles": [profile],
        "ephemeral": True,
        "start": True,
        "config": config,
        "devices": devices,
    }


def waits(image: StoredImage) -> bool:
    """Whether a guest starts its job itself, as soon as that is there."""
    return not image.is_vm and bool(image.properties.get(WAITS))


class GuestStart:
    """The start of a guest, of an image that a plan names by `role` and `alias`."""

    def __init__(self, placement: Placement, incus: Incus, role: str, alias: str) -> None:
        self._placement = placement
        self._incus = incus
        self._role = role
        self._alias = alias
        self.is_given_up = False
        """Whether the guest is not needed any more."""

    def _at_last(self, work: Callable[..., ResultT], *arguments: object) -> Awaitable[ResultT]:
        return in_thread_at_last(lambda: self.is_given_up, work, *arguments)

    async def create(self, body: Mapping[str, Any], pool: str, to_unpack: str | None) -> None:
        """Make the guest; one process at a time has the pool unpack the image `to_unpack`."""
        if to_unpack:
            name = f"unpack-{pool}-{to_unpack[:16]}"
            async with self._placement.hold(lock, name, UNPACK_SECS):
                if not await self._at_last(self._incus.is_unpacked, pool, to_unpack):
                    await self._make(body)
                    return
        await self._make(body)

    async def _make(self, body: Mapping[str, Any]) -> None:
        try:
            await self._at_last(self._incus.create, body, CREATE_SECS)
        except IncusError as error:
            if FULL in error.message:
                error.hint = (
                    f"have fewer jobs at a time (`--jobs`), or raise the project's limit:"
                    f" `incus project set {self._incus.project} LIMIT=MORE`"
                )
            if UNSHIFTED in error.message:
                error.hint = "have what guests see of the host on ext4, xfs or btrfs"
            if NOT_STARTED in error.message:
                log = await self._at_last(self._incus.start_log, body["name"])
                if found := LXC_ERROR.search(log):
                    error.message = f"{error.message}: {found[1]}"
                if HYBRID in log:
                    error.hint = "this Incus starts containers only on cgroup version 2 alone"
            raise

    async def ready(
        self, name: str, job: Mapping[str, str], mounts: str, secrets: bytes = b"", *, is_vm: bool
    ) -> None:
        """Start the runner as soon as it can be; it checks contract and mounts before it does.

        The secrets, as of `secret_files.named`, go into the guest's memory before that.
        """
        end = time.monotonic() + READY_SECS[is_vm]
        patience_with_absence = time.monotonic() + NO_PROGRAM_SECS
        check = {"PIKACI_INCUS_CONTRACT": CONTRACT, "PIKACI_INCUS_MOUNTS": mounts}
        answers, wanted = 0, VM_ANSWERS if is_vm else 0
        backoff = FIRST_BACKOFF_SECS
        while True:
            is_check = answers < wanted
            argv, env = ([RUNNER, "--check-contract"], check) if is_check else ([RUNNER], job)
            trouble = ""
            try:
                if secrets and not is_check:
                    # For each try: the runner removes it.
                    await self._at_last(self._incus.put_file, name, SECRETS_FILE, secrets)
                    argv = [RUNNER, "--secrets", SECRETS_FILE]
                done = await self._at_last(self._incus.execute, name, argv, env, EXEC_SECS)
                trouble = self._judge(done)
            except NoProgramError as error:
                if time.monotonic() > patience_with_absence:
                    raise InfrastructureError(
                        f"image {self._alias} has no runner: there is no {RUNNER} in the guest",
                        f"`pikaci image build {self._role}` makes an image with a runner; so does"
                        " any NixOS image with pikaci's guest module",
                    ) from error
                trouble = "it has no runner yet"
            except UnreachableError:
                raise
            except MissingError as error:
                raise MissingError(error.message, OUT_OF_MEMORY) from error
            except IncusError as error:
                trouble = error.message
            if not trouble and not is_check:
                return
            answers = 0 if trouble else answers + 1
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"guest {name} wasn't ready after {READY_SECS[is_vm]:g} s: {trouble}",
                    f"{OUT_OF_MEMORY}; `pikaci run --keep on-failure` keeps it for a look",
                )
            await asyncio.sleep(backoff)
            backoff = min(LAST_BACKOFF_SECS, backoff * 1.5)

    def _judge(self, done: Executed) -> str:
        """What keeps the guest from being ready; nothing if it is."""
        if done.exit_code == 0:
            return ""
        why = done.stderr.decode("utf-8", "replace").strip().removeprefix("pikaci-incus-run: ")
        if done.exit_code == NOT_READY:
            return why or "it doesn't report what is missing"
        if done.exit_code == OTHER_CONTRACT:
            raise InfrastructureError(
                f"the runner in image {self._alias} has another contract than {CONTRACT}: {why}",
                f"`pikaci image import {self._role}` imports the one of this flake",
            )
        raise InfrastructureError(
            f"the runner in image {self._alias} did not start the job"
            f" (exit code {done.exit_code}): {why}",
            OUT_OF_MEMORY if done.exit_code == KILLED else None,
        )
