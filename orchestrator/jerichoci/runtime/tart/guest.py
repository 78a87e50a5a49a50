"""A job in a fresh Tart VM on a Mac, cloned for it from a base and deleted afterwards.

`docs/tart.md` describes each step. The runner in the guest is that of Incus guests; the job's
output and its result come through the directory that the guest has as /artifacts.
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

from jerichoci.placement import Placement, operations
from jerichoci.plan.payload import read_payload_on
from jerichoci.runtime import Attempt, job_guest
from jerichoci.runtime.guest_mounts import view_of_inputs
from jerichoci.runtime.guest_runner import first_on_path, home_of, whole_variables
from jerichoci.runtime.job_guest import JobGuest, kept_until
from jerichoci.runtime.tart.check import toolchain
from jerichoci.runtime.tart.name import VmName
from jerichoci.runtime.tart.reaper import make_room
from jerichoci.runtime.tart.shares import GuestShares
from jerichoci.runtime.tart.vm import TartVm
from jerichoci.state.ids import owner_part
from jerichoci.state.ledger import tart_guests

ROOM_SECS = 4 * 3600.0
"""For another VM on the Mac to end, where macOS runs only two."""
WRITE_SECS = 60.0
"""For a handful of small files, on a disk in trouble."""
RUNNER, BOOTSTRAP, JOB_FILE = "pikaci-incus-run", "bootstrap.sh", "job.json"
OPTIONS_FILE = "shares.json"
"""In the attempt's scratch directory: the shares of a VM that may be booted again."""


@cache
def guest_program(name: str, in_checkout: str) -> bytes:
    """A program for the guest, of the package, or of the checkout that this module is in."""
    packaged = Path(__file__).with_name("guest_files") / name
    if packaged.exists():
        return packaged.read_bytes()
    return (Path(__file__).parents[4] / in_checkout).read_bytes()


class TartGuest(JobGuest):
    """The `tart` runtime."""

    def __init__(self, placement: Placement, attempt: Attempt) -> None:
        owner = owner_part(attempt.state.owner_id())
        name = str(VmName(owner, attempt.run_id, attempt.node.job_id, attempt.number))
        super().__init__(placement, attempt, name, tart_guests(attempt.state))
        self._vm = TartVm(placement, name, attempt.host_log, attempt.scratch)
        self._is_ready = False
        self._options: list[str] = []
        self._control = attempt.scratch / "control"
        self.execution = {"vm": name, "base": self._config["base"]}
        asked = self._execute.resources
        for word, key, value in (("pids", "pids", asked.pids), ("disk", "diskMib", asked.disk_mib)):
            if value is not None:
                self.execution[word] = "not_limited"
                attempt.note(f"`resources.{key}` limits nothing in a Tart VM")

    async def prepare(self) -> None:
        """Make what the VM will be shown."""
        attempt = self._attempt
        await self._make_outbox()
        await self._placement.do(operations.make_outbox, self._control)
        shares = GuestShares()
        shares.add("pikaci", self._control)
        is_workspace = not self._execute.writable_workspace
        snapshot = shares.add_snapshot(attempt.snapshot, is_workspace=is_workspace)
        shares.add_artifacts(self._outbox)
        view = await view_of_inputs(self._placement, attempt)
        if view is not None:
            shares.add_store(view.path)
        for ref in self._execute.inputs:
            planned = attempt.inputs[ref.node_id]
            shares.add_input(ref, planned, await read_payload_on(self._placement, planned))
        first = [await self._add_toolchain(shares), *attempt.world.path]
        named = self._add_own(shares)
        shares.add_world(attempt.world, home_of(self._execute))
        self._options = shares.options()
        variables = self._variables(dict(shares.env) | named)
        variables |= first_on_path([*filter(None, first)])
        if not is_workspace:
            variables["PIKACI_INCUS_SNAPSHOT"] = snapshot.guest_path
        await self._write_control(shares, variables)

    async def _add_toolchain(self, shares: GuestShares) -> str:
        """Share the host's Rust toolchain, if the job wants it; the PATH that leads to it."""
        if not self._config.get("mount_host_toolchain"):
            return ""
        sysroot = await toolchain(self._placement, self._attempt.snapshot)
        self.execution["toolchain"] = str(sysroot)
        return f"{shares.add('toolchain', sysroot).guest_path}/bin"

    def _add_own(self, shares: GuestShares) -> dict[str, str]:
        """Share what the job's own `shares` name; the variables that lead there."""
        named = {}
        for row in self._config.get("shares") or ():
            source, read_only = Path(row["path"]), bool(row.get("read_only", True))
            share = shares.add(row["name"], source, read_only=read_only)
            named[f"PIKACI_SHARE_{share.name.upper().replace('-', '_')}"] = share.guest_path
        return named

    def _variables(self, named: dict[str, str]) -> dict[str, str]:
        """The runner's variables; `named` leads the job to what is shared with it."""
        xcode = self._config.get("xcode_path")
        developer = {"DEVELOPER_DIR": f"{xcode}/Contents/Developer"} if xcode else {}
        env = developer | self._execute.env | named
        variables = whole_variables(self._execute, env, job_guest.GRACE_SECS)
        variables["PIKACI_INCUS_MOUNTS"] = ""  # the bootstrap has checked them
        if xcode:
            variables["PIKACI_INCUS_XCODE"] = xcode
        return variables

    async def _write_control(self, shares: GuestShares, variables: dict[str, str]) -> None:
        files = {
            RUNNER: guest_program(RUNNER, "nix/incus/pikaci-incus-run.py"),
            BOOTSTRAP: guest_program(BOOTSTRAP, "nix/tart/bootstrap.sh"),
            "links": shares.links_file(),
            JOB_FILE: json.dumps(variables).encode(),
        }
        for name, data in files.items():
            await self._placement.do(operations.write, self._control / name, data)
        # The guest's user is another one, and the umask here may be anything.
        opening = ["chmod", "-R", "a+rX", str(self._control)]
        await self._placement.run(opening, deadline_secs=WRITE_SECS)
        options = json.dumps(self._options).encode("utf-8", "surrogateescape")
        await self._placement.do(operations.write, self._attempt.scratch / OPTIONS_FILE, options)

    async def launch(self) -> None:
        """Clone the VM, boot it, and start the job."""
        if not self._placement.is_remote:
            # Other hosts are cleared while they serve.
            await make_room(self._attempt.state, self._attempt.run_id)
        self._write_note()
        began = time.monotonic()
        await self._vm.make(self._config["base"], self._execute.resources)
        self._took("clone_ms", began)
        began = time.monotonic()
        await self._vm.boot(self._options, ROOM_SECS)
        self._took("boot_ms", began)
        began = time.monotonic()
        await self._vm.begin(JOB_FILE)
        self._is_ready = True
        self._took("start_ms", began)

    async def gone(self) -> str:
        """Wait for the VM's process."""
        return await self._vm.ended()

    async def stop_job(self) -> None:
        """Have the runner stop the job."""
        await self._vm.tell(JOB_FILE, "--stop")

    def finished(self) -> None:
        """Nothing to do: the VM is removed after its files were read."""

    async def release(self, *, keep: bool) -> None:
        """Delete the VM, or keep it switched off. One that was never ready is not kept."""
        kept = keep and self._is_ready
        try:
            if self._note is None:
                pass  # it was never made
            elif kept:
                await self._vm.halt()
                self._note_kept(self._note, kept_until())
            else:
                await self._vm.delete()
                self._notes.forget(self.name)
                self.execution["removal"] = "removed"
        finally:
            await self._vm.close()
            await self._leave(kept=kept)

    async def wait_removed(self) -> None:
        """Nothing to wait for: `release` deletes the VM itself."""
