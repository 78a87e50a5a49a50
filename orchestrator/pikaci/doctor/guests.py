"""Incus, and what it has for jobs in guests."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pikaci.doctor.finding import Finding, bad, note, ok, room, trouble

if TYPE_CHECKING:
    from jerichoci.errors import PikaciError
    from jerichoci.placement import Placement
    from jerichoci.plan.incus_site import IncusSite
    from jerichoci.runtime.incus.api import Profile, Server, StoredImage
    from jerichoci.runtime.incus.client import Incus
    from pikaci.doctor.catalog import Wanted
    from pikaci.images import RoleImage

DAEMON_PLACES = ("/usr/libexec/incus", "/usr/sbin", "/usr/local/sbin", "/opt/incus/bin")
MIB = 2**20
SLOW_DRIVER = "dir"
MADE_BY = "on Debian, `nix/incus/debian-guest.sh` of pikaci's repository makes some"
VM_DEVICES = {
    "/dev/kvm": "`modprobe kvm_intel` or `kvm_amd`, which the firmware or the host must allow",
    "/dev/vhost-vsock": "`modprobe vhost_vsock`",
}
NO_QEMU = "install QEMU with OVMF, then restart Incus"
NO_MODULES = "a kernel with KVM and vhost_vsock: this one can load no modules"


async def guest_findings(wanted: Wanted) -> list[Finding]:
    """Everything about this machine's Incus. What nobody asks for is only noted."""
    from jerichoci.errors import PikaciError
    from jerichoci.plan.hosts import local_site
    from jerichoci.runtime.incus.client import Incus

    try:
        site = local_site()
    except PikaciError as error:
        return [trouble("incus", error, "mend it", needed=bool(wanted.images))]
    return await findings_of(Incus(site.socket_path(), site.project), site, wanted)


async def findings_of(incus: Incus, site: IncusSite, wanted: Wanted) -> list[Finding]:
    """Everything about an Incus."""
    from jerichoci.errors import PikaciError
    from jerichoci.runtime.incus.thread import in_thread

    needed, socket = bool(wanted.images), site.socket_path()
    try:
        server = await in_thread(incus.server)
    except PikaciError as error:
        return [_absent(socket, error, needed=needed)]
    if not server.is_trusted:
        text = f"it doesn't trust this user at {socket}"
        return [bad("incus", text, "use its unix socket", needed=needed)]
    findings = [ok("incus", about(server, socket))]
    try:
        findings += await in_thread(lambda: _place(incus, server, site, wanted))
        findings += await _images(incus, wanted)
        findings.append(await in_thread(_bridges, incus))
        findings += await in_thread(limit_findings, incus)
    except PikaciError as error:
        findings.append(trouble("incus", error, "its log says more", needed=needed))
    return [*findings, vm_finding(server, needed=wanted.has_vms)]


def about(server: Server, socket: Path | str | None) -> str:
    """Which Incus it is."""
    member = f", member {server.member} of a cluster" if server.member else ""
    return f"{server.version} at {socket}{member}"


def limit_findings(incus: Incus) -> list[Finding]:
    """Whether guests' memory is limited."""
    from jerichoci.runtime.incus.api import IncusError

    try:
        if not incus.ignores_memory_limits():
            return []
    except IncusError:
        return []  # not everybody may ask
    text = "Incus can limit no container's memory here: `resources.memoryMib` is no limit"
    hint = "give Incus the kernel's memory controller (`cat /sys/fs/cgroup/cgroup.controllers`)"
    return [note("guest memory", text, hint)]


async def disk_findings(placement: Placement, wanted: Wanted) -> list[Finding]:
    """Whether guests can have the directories that they need of a host."""
    from jerichoci.errors import UsageError
    from jerichoci.runtime.incus.disk import check_disk
    from jerichoci.runtime.incus.rules import Needs

    if not wanted.images:
        return []
    needs = Needs(frozenset(image.instance_type for image in wanted.images))
    try:
        await check_disk(placement, needs)
    except UsageError as error:
        return [trouble("guest mounts", error, "")]
    return [ok("guest mounts", f"guests can have directories of {placement.state_root}")]


def _absent(socket: Path, error: PikaciError, *, needed: bool) -> Finding:
    """Why nobody answers at the socket."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *DAEMON_PLACES])
    daemon = shutil.which("incusd", path=path)
    if not _is_missing(socket):
        if os.access(socket, os.W_OK):
            return bad("incus", error.message, _start(daemon), needed=needed)
        return trouble("incus", error, "join the group that may use it", needed=needed)
    if daemon:
        text = f"it doesn't run, or elsewhere than at {socket}"
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
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _place(incus: Incus, server: Server, site: IncusSite, wanted: Wanted) -> list[Finding]:
    """The project, the profile and the pool."""
    from jerichoci.runtime.incus.rules import Needs, objections

    name, needed = site.project, bool(wanted.images)
    config = incus.project_config()
    if config is None:
        hint = f"`incus project create {name}` makes one, or name yours in hosts.toml"
        return [bad("incus project", f"there is no project {name}", hint, needed=needed)]
    findings = [ok("incus project", name)]
    profile = incus.profile(site.profile)
    if profile is None:
        hint = f"`incus profile create {site.profile} --project {name}`"
        text = f"project {name} has no profile {site.profile}"
        return [*findings, bad("incus profile", text, hint, needed=needed)]
    findings.append(ok("incus profile", site.profile))
    kinds = frozenset(image.instance_type for image in wanted.images)
    needs = Needs(kinds, member=server.member)
    rules = objections(config, profile, site.pool or profile.pool or "", needs)
    if rules.texts:
        text = f"{name} refuses guests: {'; '.join(rules.texts)}"
        findings[0] = bad("incus project", text, rules.commands(name, site.profile), needed=needed)
    return [*findings, *_pool(incus, site, profile, needed=needed)]


def _pool(incus: Incus, site: IncusSite, profile: Profile, *, needed: bool) -> list[Finding]:
    pool = site.pool or profile.pool
    if pool is None:
        return [
            bad(
                "incus pool",
                f"profile {site.profile} has no root disk",
                f"`incus profile device add {site.profile} root disk path=/ pool=POOL"
                f" --project {site.project}`",
                needed=needed,
            )
        ]
    driver = incus.pool_driver(pool)
    if driver is None:
        hint = f"`incus storage create {pool} btrfs`"
        return [bad("incus pool", f"there is no storage pool {pool}", hint, needed=needed)]
    findings = [ok("incus pool", f"{pool}, {driver}")]
    if driver == SLOW_DRIVER:
        text = f"{pool}, {driver}: it takes ten times as long to make a guest"
        hint = '`incus storage create fast btrfs` (or zfs), and `pool = "fast"` in hosts.toml'
        findings = [note("incus pool", text, hint)]
    free = incus.pool_free_bytes(pool)
    if free is not None:
        text = f"{free // MIB} MiB free in {pool}"
        grow = (
            "make room on its disk"
            if driver == SLOW_DRIVER
            else (f"`incus storage set {pool} size=SIZE` if it is a file")
        )
        hint = f"{grow}; `pikaci reap` and `incus image delete` free some"
        findings.append(room("pool space", text, free, None, hint, needed=needed))
    return findings


async def _images(incus: Incus, wanted: Wanted) -> list[Finding]:
    from jerichoci.runtime.incus.thread import in_thread

    findings = []
    for image in wanted.images:
        found = await in_thread(incus.image, image.alias)
        findings.append(await _image(incus, wanted, image, found))
    return findings


async def _image(
    incus: Incus, wanted: Wanted, image: RoleImage, found: StoredImage | None
) -> Finding:
    """Whether a role's image is there, of the right type, and what the flake would build now."""
    from jerichoci.runtime.incus.image import CONTENT_PROPERTY, DRV_PROPERTY

    name = f"image {image.role}"
    mend = f"`pikaci image import {image.role}`"
    if image.role not in wanted.buildable:
        mend = (
            f"the role has no `package` that Nix could build: `pikaci image import {image.role}"
            f" --from DIR` takes an image's files ({MADE_BY})"
        )
    if found is None:
        text = f"project {incus.project} has no image {image.alias} ({image.instance_type})"
        return bad(name, text, mend)
    kind = "virtual-machine" if found.is_vm else "container"
    if kind != image.instance_type:
        return bad(name, f"{image.alias} is a {kind}, not a {image.instance_type}", mend)
    text = (
        f"{image.alias}, {kind}, {found.size_bytes // MIB} MiB, imported {found.uploaded_at[:10]}"
    )
    built_from = found.properties.get(DRV_PROPERTY)
    if built_from is None:
        return ok(name, text + (", from files" if CONTENT_PROPERTY in found.properties else ""))
    current = await wanted.drv_path(image.role)
    if current is None:
        return ok(name, f"{text}; whether it is current, `pikaci image list --check` tells")
    if current != built_from:
        return note(name, f"{text}: the flake builds another one now", mend)
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


def vm_finding(server: Server, *, needed: bool) -> Finding:
    """Whether guests can be virtual machines."""
    from jerichoci.runtime.incus.check import VM_DRIVER

    lacks = [(device, hint) for device, hint in VM_DEVICES.items() if not _opens(device)]
    if VM_DRIVER not in server.drivers:
        lacks.append(("Incus's driver qemu", NO_QEMU))
    name = "virtual machines"
    if not lacks:
        return ok(name, "guests can be virtual machines")
    what = ", ".join(lack for lack, _ in lacks)
    hints = [hint for _, hint in lacks]
    if any(device in VM_DEVICES for device, _ in lacks) and not _has_modules():
        hints = [NO_MODULES, *(hint for hint in hints if hint == NO_QEMU)]
    return bad(
        name, f"guests can't be virtual machines without {what}", "; ".join(hints), needed=needed
    )


def _has_modules() -> bool:
    return Path("/lib/modules", os.uname().release).is_dir()


def _opens(device: str) -> bool:
    """Whether a device works, for Incus, which is root."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return True
