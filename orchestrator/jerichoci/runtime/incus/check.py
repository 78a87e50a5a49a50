"""What a host and its Incus must have before jobs start in its guests, and what they have."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, PikaciError, UsageError
from jerichoci.machine import idmap
from jerichoci.plan.hosts import hosts_file
from jerichoci.runtime.incus.client import Incus, open_incus
from jerichoci.runtime.incus.reaper import IncusPlace
from jerichoci.runtime.incus.rules import Needs, Objections, objections
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jerichoci.placement import IncusSettings, Placement
    from jerichoci.plan.plan import ExecuteNode, Image, Plan
    from jerichoci.runtime.incus.api import Profile, Server, StoredImage

VM_DRIVER = "qemu"
MADE_BY = "on Debian, `nix/incus/debian-guest.sh` of pikaci's repository makes some"
PROBE_SECS = 30.0
SHIFTS = frozenset({"ext2/ext3", "xfs", "btrfs"})
"""File systems, by their names in stat(1), that every kernel which runs Incus can shift."""
NEVER = frozenset({"overlayfs", "nfs", "v9fs", "cifs", "smb2", "ecryptfs"})
"""File systems that can't be shifted; looked up where only root may try."""


@dataclass(frozen=True)
class Where:
    """Where an Incus is, in words for people; `host` is None for this machine."""

    host: str | None = None

    @property
    def incus(self) -> str:
        """`Incus`, and on which host."""
        return f"Incus{self.on_host}"

    @property
    def on_host(self) -> str:
        """What to put behind a command that is to run on the host."""
        return f" on {self.host}" if self.host else ""

    @property
    def flag(self) -> str:
        """What to pass to `pikaci image`."""
        return f" --host {self.host}" if self.host else ""


def where_of(placement: Placement) -> Where:
    """Where a placement's Incus is."""
    return Where(placement.host if placement.is_remote else None)


@dataclass(frozen=True)
class GuestSurvey:
    """The profile of guests, their pool, and images by alias: None where one is missing."""

    profile: Profile | None
    pool: str | None
    images: Mapping[str, StoredImage | None]
    unpacked: frozenset[str]
    """The fingerprints of the images that need no wait: those that the pool has unpacked, or all,
    if it unpacks them for each guest."""


def survey(incus: Incus, site: IncusSettings, aliases: Iterable[str]) -> GuestSurvey:
    """Look at a host; blocking."""
    with ThreadPoolExecutor(1) as beside:
        imaging = beside.submit(incus.images)
        profile = incus.profile(site.profile)
    pool = site.pool or (profile.pool if profile else None)
    stored = {alias: image for image in imaging.result() for alias in image.aliases}
    images = {alias: stored.get(alias) for alias in aliases}
    fingerprints = {image.fingerprint for image in images.values() if image}
    unpacked = {mark for mark in fingerprints if pool and incus.is_unpacked(pool, mark)}
    if pool and unpacked != fingerprints and incus.pool_driver(pool) == "dir":
        unpacked = fingerprints
    return GuestSurvey(profile, pool, images, frozenset(unpacked))


_LOOKING = ThreadPoolExecutor(max_workers=1, thread_name_prefix="departed")


async def check_guests(
    placement: Placement, plan: Plan, nodes: Sequence[ExecuteNode]
) -> GuestSurvey:
    """Refuse a host without Incus, or without what these jobs of a plan need in it."""
    for node in nodes:
        _check_texts(node)
    roles = {str(node.runtime_config.get("role")) for node in nodes}
    known = {image.role: image for image in plan.images}
    if missing := roles - known.keys():
        raise UsageError(f"the plan has no image for the role {min(missing)}", "plan it again")
    incus = await open_incus(placement)
    networks = {node.runtime_config.get("network") for node in nodes} - {None}
    images = [known[role] for role in sorted(roles)]
    needs = Needs(
        kinds=frozenset(image.instance_type for image in images),
        networks=frozenset(str(network) for network in networks),
        jobs={node.job_id: node.execute.resources for node in nodes},
    )
    site = placement.incus_settings()
    mounting = asyncio.ensure_future(check_disk(placement, needs))
    try:
        found = await in_thread(_check, incus, site, images, needs, where_of(placement))
    finally:
        await asyncio.wait({mounting})
    mounting.result()
    # Best effort; the next check retries.
    if not placement.is_remote:
        state, socket = StateLayout(placement.state_root), site.socket_path()
        _LOOKING.submit(_see_removed, IncusPlace(state, incus, placement.user, socket=socket))
    return found


def _see_removed(place: IncusPlace) -> None:
    with suppress(PikaciError, OSError):
        place.see_removed()


def _check_texts(node: ExecuteNode) -> None:
    texts = {"command": node.execute.command}
    texts |= {f"env.{name}": f"{name}{value}" for name, value in node.execute.env.items()}
    for what, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"job {node.job_id}: {what} isn't UTF-8", "guests take UTF-8 only; put it in a file"
            ) from error


def _check(
    incus: Incus, site: IncusSettings, images: Sequence[Image], needs: Needs, where: Where
) -> GuestSurvey:
    server = incus.server()
    check_trust(server, where)
    # Beside each other: a host may be far away.
    with ThreadPoolExecutor(1) as beside:
        surveying = beside.submit(survey, incus, site, [image.alias for image in images])
        config = check_project(incus, where)
    found = surveying.result()
    profile = check_profile(found.profile, site, where)
    if not found.unpacked:
        check_pool(incus, site, found.pool, where)
    needs = replace(needs, member=server.member)
    check_rules(objections(config, profile, found.pool or "", needs), site, where)
    for image in images:
        check_image(incus, server, image, found.images[image.alias], where)
    for network in sorted(needs.networks):
        if not incus.has_network(network):
            raise UsageError(
                f"{where.host or 'the host'} has no bridge {network}",
                f"`incus network create {network}`{where.on_host} makes one",
            )
    return found


def check_trust(server: Server, where: Where) -> None:
    """Refuse an Incus that doesn't let us in."""
    if not server.is_trusted:
        raise UsageError(f"{where.incus} doesn't trust this user", "use its unix socket")


def check_project(incus: Incus, where: Where) -> Mapping[str, str]:
    """Refuse an Incus without the project; the project's settings."""
    config = incus.project_config()
    if config is None:
        raise UsageError(
            f"{where.incus} has no project {incus.project}",
            f"`incus project create {incus.project}`{where.on_host} makes one, or name yours in"
            f" {hosts_file()}",
        )
    return config


def check_profile(profile: Profile | None, site: IncusSettings, where: Where) -> Profile:
    """Refuse a project without the profile of guests."""
    if profile is None:
        raise UsageError(
            f"project {site.project} of {where.incus} has no profile {site.profile}",
            f"`incus profile create {site.profile} --project {site.project}`{where.on_host} makes"
            " one",
        )
    return profile


def check_pool(incus: Incus, site: IncusSettings, pool: str | None, where: Where) -> str:
    """Refuse a profile without a root disk, or one whose pool is missing; the pool's driver."""
    if pool is None:
        raise UsageError(
            f"profile {site.profile} of project {site.project}{where.on_host} has no root disk",
            f"`incus profile device add {site.profile} root disk path=/ pool=POOL"
            f" --project {site.project}`{where.on_host} gives it one",
        )
    driver = incus.pool_driver(pool)
    if driver is None:
        raise UsageError(
            f"{where.incus} has no storage pool {pool}",
            f"`incus storage create {pool} btrfs`{where.on_host} makes one",
        )
    return driver


def check_rules(rules: Objections, site: IncusSettings, where: Where) -> None:
    """Refuse a project whose settings forbid what guests need."""
    if rules.texts:
        raise UsageError(
            f"project {site.project} of {where.incus} refuses guests: {'; '.join(rules.texts)}",
            f"{rules.commands(site.project, site.profile)}{where.on_host}",
        )


def check_image(  # noqa: PLR0913 - what there is, what is needed, and whose it is
    incus: Incus,
    server: Server,
    image: Image,
    found: StoredImage | None,
    where: Where,
    *,
    is_buildable: bool | None = None,
) -> None:
    """Refuse an image, `found` by a role's alias, that is missing or can't be used."""
    command = f"pikaci image import {image.role}{where.flag}"
    hint = {
        True: f"`{command}`",
        False: f"the role has no `package` that Nix could build: `{command} --from DIR` takes an"
        f" image's files ({MADE_BY})",
        None: f"`{command}` builds the role's `package`, if it has one; `{command} --from DIR`"
        " takes the files of an image",
    }[is_buildable]
    if found is None:
        raise UsageError(
            f"project {incus.project} of {where.incus} has no image {image.alias}"
            f" (role {image.role}, {image.instance_type})",
            hint,
        )
    if found.is_vm != image.is_vm:
        kind = "virtual-machine" if found.is_vm else "container"
        raise UsageError(
            f"image {image.alias}{where.on_host} is for a {kind}; role {image.role} asks for a"
            f" {image.instance_type}",
            hint,
        )
    if image.is_vm and VM_DRIVER not in server.drivers:
        whose = where.incus if where.host else "this host's Incus"
        raise UsageError(
            f"role {image.role} asks for a virtual machine, and {whose} can't run any",
            "`pikaci doctor` shows what is missing; or use the container image",
        )


async def check_disk(placement: Placement, needs: Needs) -> None:
    """Refuse guests that can't have directories of a host."""
    kind = await _unshifted(placement) if "container" in needs.kinds else None
    if kind is None:
        return
    if placement.is_remote:
        where, what = f"the work directory of {placement.host}", "set its `work_dir` in hosts.toml"
    else:
        where, what = "the state root", "pass `--state-root`"
    raise UsageError(
        f"containers can't have directories of {where}: {placement.state_root} is on {kind},"
        " which can't be mounted with other owners",
        f"have it on ext4, xfs or btrfs ({what}), or use an image for virtual machines",
    )


async def _unshifted(placement: Placement) -> str | None:
    """The file system of a host's snapshots, if containers can't mount them."""
    where = str(placement.state_root)
    try:
        found = await placement.run(["stat", "-f", "-c", "%T", where], deadline_secs=PROBE_SECS)
    except InfrastructureError:
        return None
    kind = found.stdout.decode("utf-8", "replace").strip()
    if not found.ok or kind in SHIFTS:
        return None
    python = "python3" if placement.is_remote else sys.executable
    program = Path(idmap.__file__).read_text(encoding="utf-8")
    tried = await placement.run([python, "-ISc", program, where], deadline_secs=PROBE_SECS)
    if tried.exit_code == idmap.CANNOT or (not tried.ok and kind in NEVER):
        return kind
    return None
