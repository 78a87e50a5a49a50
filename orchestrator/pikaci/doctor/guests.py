"""Incus and Tart, and what they have for jobs in guests: on this machine or on a host."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, InfrastructureError, PikaciError, UsageError
from jerichoci.machine.slots import MACOS_VMS
from jerichoci.plan.plan import Image
from jerichoci.runtime.incus import check
from jerichoci.runtime.incus.api import IncusError, Server
from jerichoci.runtime.incus.check import VM_DRIVER, check_disk, check_image, check_trust, where_of
from jerichoci.runtime.incus.client import Incus, open_incus
from jerichoci.runtime.incus.image import CONTENT_PROPERTY, DRV_PROPERTY
from jerichoci.runtime.incus.rules import objections
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.runtime.tart.check import is_mac, known_vms
from pikaci.doctor.finding import MIB, Finding, bad, note, ok, room, trouble

if TYPE_CHECKING:
    from jerichoci.placement import IncusSettings, Placement
    from jerichoci.runtime.incus.check import Where
    from pikaci.doctor.catalog import FlakeNeeds
    from pikaci.images import RoleImage

DAEMON_PLACES = ("/usr/libexec/incus", "/usr/sbin", "/usr/local/sbin", "/opt/incus/bin")
SLOW_DRIVER = "dir"
VM_DEVICES = {
    "/dev/kvm": "`modprobe kvm_intel` or `kvm_amd`, which the firmware or the host must allow",
    "/dev/vhost-vsock": "`modprobe vhost_vsock`",
}
LOOK_SECS = 60.0
"""For a program of the host to answer."""
OLDEST_MACOS = 14
"""`tart exec` needs it."""
NO_QEMU = "install QEMU with OVMF, then restart Incus"
NO_MODULES = "a kernel with KVM and vhost_vsock: this one can load no modules"


async def guest_findings(placement: Placement, needs: FlakeNeeds) -> list[Finding]:
    """Everything about a placement's Incus. What no image needs is only noted."""
    try:
        incus = await open_incus(placement)
        site = placement.incus_settings()
    except PikaciError as error:
        from jerichoci.remote.incus_socket import AbsentIncusError

        needed = bool(needs.images) and not isinstance(error, AbsentIncusError)
        return [trouble("incus", error, "only guests need it", needed=needed)]
    found = await findings_of(incus, site, needs, where_of(placement))
    return [*found, *await _disk(placement, needs)]


async def findings_of(
    incus: Incus, site: IncusSettings, needs: FlakeNeeds, where: Where
) -> list[Finding]:
    """Everything about an Incus that a socket leads to."""
    needed, socket, findings = bool(needs.images), site.socket_path(), []
    try:
        server = await in_thread(incus.server)
    except PikaciError as error:
        if where.host:
            return [trouble("incus", error, "see its log", needed=needed)]
        return [_absent(socket, error, needed=needed)]
    try:
        check_trust(server, where)
        member = f", member {server.member} of a cluster" if server.member else ""
        findings.append(ok("incus", f"{server.version} at {socket}{member}"))
        place = await in_thread(lambda: _place(incus, server, site, needs, where))
        findings += place
        if len(place) > 1:  # there is a project
            findings += [await _image(incus, server, needs, row, where) for row in needs.images]
            findings.append(await in_thread(_bridges, incus))
            findings += await in_thread(_limits, incus)
    except PikaciError as error:
        findings.append(trouble("incus", error, "see its log", needed=needed))
    # Only this machine's devices can be tried.
    return findings if where.host else [*findings, _vms(server, needed=needs.has_vms)]


def _limits(incus: Incus) -> list[Finding]:
    """Whether guests' memory is limited."""
    try:
        if not incus.ignores_memory_limits():
            return []
    except IncusError:
        return []  # asking takes more rights than using Incus
    text = "Incus can limit no container's memory here: `resources.memoryMib` is no limit"
    hint = "give Incus the kernel's memory controller (`cat /sys/fs/cgroup/cgroup.controllers`)"
    return [note("guest memory", text, hint)]


async def _disk(placement: Placement, needs: FlakeNeeds) -> list[Finding]:
    """Whether guests can have the directories that they need of a host."""
    if not needs.images:
        return []
    try:
        await check_disk(placement, needs.of_guests())
    except UsageError as error:
        return [trouble("guest mounts", error)]
    return [ok("guest mounts", f"guests can have directories of {placement.state_root}")]


def _absent(socket: Path, error: PikaciError, *, needed: bool) -> Finding:
    """Why this machine's Incus does not answer."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *DAEMON_PLACES])
    daemon = shutil.which("incusd", path=path)
    if not _is_missing(socket):
        if os.access(socket, os.W_OK):
            return bad("incus", error.message, _start(daemon), needed=needed)
        return trouble("incus", error, "join the group that may use it", needed=needed)
    if daemon:
        text = f"Incus is not running, or its socket is not at {socket}"
        hint = f"{_start(daemon)}; or set its `socket` in hosts.toml"
        return bad("incus", text, hint, needed=needed)
    if sys.platform == "darwin":
        text = "not here: Incus runs on Linux"
        return bad("incus", text, "have these jobs on a Linux host (docs/hosts.md)", needed=needed)
    return bad(
        "incus",
        f"not installed (there is no {socket}): jobs can't run in guests",
        "install it: Debian 13 and bookworm-backports have `incus`, NixOS has"
        " `virtualisation.incus.enable`; then `incus admin init`",
        needed=needed,
    )


def _start(daemon: str | None) -> str:
    """How Incus is started on this machine."""
    from pikaci.doctor.machine import SYSTEMD

    if SYSTEMD.is_dir():
        return "start it: `systemctl start incus`"
    return f"start it as root: `{daemon or 'incusd'} --group incus-admin &`"


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _place(
    incus: Incus, server: Server, site: IncusSettings, needs: FlakeNeeds, where: Where
) -> list[Finding]:
    """The project, the profile and the pool, as far as one needs the one before."""
    name, needed = "incus project", bool(needs.images)
    findings = []
    try:
        config = check.check_project(incus, where)
        findings.append(ok(name, site.project))
        name = "incus profile"
        profile = check.check_profile(incus.profile(site.profile), site, where)
        findings.append(ok(name, site.profile))
        pool = site.pool or profile.pool
        try:
            rules = objections(config, profile, pool or "", needs.of_guests(server.member))
            check.check_rules(rules, site, where)
        except UsageError as error:
            findings[0] = trouble("incus project", error, needed=needed)
        name = "incus pool"
        driver = check.check_pool(incus, site, pool, where)
        findings += _pool(incus, str(pool), driver, needed=needed)
    except UsageError as error:
        findings.append(trouble(name, error, needed=needed))
    return findings


def _pool(incus: Incus, pool: str, driver: str, *, needed: bool) -> list[Finding]:
    findings = [ok("incus pool", f"{pool}, {driver}")]
    grow = f"`incus storage set {pool} size=SIZE` if it is a file"
    if driver == SLOW_DRIVER:
        text = f"{pool}, {driver}: it takes ten times as long to make a guest"
        hint = '`incus storage create fast btrfs` (or zfs), and `pool = "fast"` in hosts.toml'
        findings = [note("incus pool", text, hint)]
        grow = "make room on its disk"
    free = incus.pool_free_bytes(pool)
    if free is not None:
        hint = f"{grow}; `pikaci reap` and `incus image delete` free some"
        findings.append(room("pool space", f"in {pool}", free, None, hint, needed=needed))
    return findings


async def _image(
    incus: Incus, server: Server, needs: FlakeNeeds, image: RoleImage, where: Where
) -> Finding:
    """Whether a role's image can be used, and on this machine whether it is current."""
    name, is_buildable = f"image {image.role}", image.role in needs.buildable
    found = await in_thread(incus.image, image.alias)
    asked = Image.model_validate(
        {"role": image.role, "alias": image.alias, "instance_type": image.instance_type}
    )
    try:
        check_image(incus, server, asked, found, where, is_buildable=is_buildable)
    except UsageError as error:
        return trouble(name, error)
    if found is None:
        raise ValueError(f"{image.alias} was checked")
    text = f"{image.alias}, {image.instance_type}, {found.size_bytes // MIB} MiB"
    text += f", imported {found.uploaded_at[:10]}"
    built_from = found.properties.get(DRV_PROPERTY)
    if built_from is None:
        return ok(name, text + (", from files" if CONTENT_PROPERTY in found.properties else ""))
    current = None if where.host else await needs.drv_path(image.role)
    if current is None:
        return ok(name, f"{text}; `pikaci image list --check` shows whether it is current")
    if current != built_from:
        hint = f"`pikaci image import {image.role}`"
        return note(name, f"{text}: the flake builds another one now", hint)
    return ok(name, f"{text}, current")


def _bridges(incus: Incus) -> Finding:
    found = [row for row in incus.networks() if row.kind == "bridge"]
    if not found:
        text = "the host has none: no job can have a network"
        return note("bridges", text, "`incus network create incusbr0`, where jobs ask for one")
    own = ", ".join(row.name for row in found if row.is_managed)
    others = ", ".join(row.name for row in found if not row.is_managed)
    parts = [f"{own} of Incus" if own else "", f"{others} of the host" if others else ""]
    return ok("bridges", "; ".join(filter(None, parts)))


def _vms(server: Server, *, needed: bool) -> Finding:
    """Whether guests can be virtual machines."""
    name = "virtual machines"
    missing = {device: hint for device, hint in VM_DEVICES.items() if not _opens(device)}
    hints = list(missing.values())
    if missing and not _has_modules():
        hints = [NO_MODULES]
    names = list(missing)
    if VM_DRIVER not in server.drivers:
        names.append("Incus's qemu driver")
        hints.append(NO_QEMU)
    if not names:
        return ok(name, "guests can be virtual machines")
    text = f"VM guests unavailable: missing {' and '.join(names)}"
    return bad(name, text, "; ".join(hints), needed=needed)


def _has_modules() -> bool:
    return Path("/lib/modules", os.uname().release).is_dir()


def _opens(device: str) -> bool:
    """Whether a device works, for Incus, which is root."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


async def vm_findings(placement: Placement) -> list[Finding]:
    """Whether jobs can run in macOS VMs; nothing, where the machine is no Mac for it."""
    if not await is_mac(placement):
        return []
    try:
        version = await _answer(placement, "tart", "--version")
        known = await known_vms(placement)
    except HostUnavailableError:
        raise
    except UsageError as error:
        return [trouble("tart", error, "`brew install openai/tools/tart`", needed=False)]
    except PikaciError as error:
        text = "not installed: jobs can't run in macOS VMs"
        return [note("tart", f"{text} ({error.message})", "`brew install openai/tools/tart`")]
    running = [vm.name for vm in known if vm.is_running]
    findings = [ok("tart", f"{version}; {len(known)} VMs, {len(running)} running")]
    release = await _answer(placement, "sw_vers", "-productVersion")
    major = release.partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST_MACOS:
        text = f"macOS {release or 'of no version'}: tart can run nothing in VMs"
        findings.append(note("macos", text, f"macOS {OLDEST_MACOS} or later"))
    if len(running) >= MACOS_VMS:
        text = f"{', '.join(running)} run now: jobs wait while {MACOS_VMS} have macOS"
        findings.append(note("macos vms", text, "`tart stop NAME` stops one"))
    return findings


async def _answer(placement: Placement, *argv: str) -> str:
    """What a program prints; nothing, where there is no such program."""
    try:
        done = await placement.run(argv, deadline_secs=LOOK_SECS)
    except HostUnavailableError:
        raise
    except InfrastructureError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.ok else ""
