"""What a host's Incus must have before jobs start in its guests."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError, UsageError
from jerichoci.plan.hosts import hosts_file
from jerichoci.runtime.incus.api import MissingError
from jerichoci.runtime.incus.disk import check_disk
from jerichoci.runtime.incus.reaper import see_departed
from jerichoci.runtime.incus.rules import Needs, objections
from jerichoci.runtime.incus.survey import GuestSurvey, survey
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jerichoci.placement import Placement
    from jerichoci.plan.incus_site import IncusSite
    from jerichoci.plan.plan import ExecuteNode, Image, Plan
    from jerichoci.runtime.incus.api import Server, StoredImage
    from jerichoci.runtime.incus.client import Incus

VM_DRIVER = "qemu"


@dataclass(frozen=True)
class Where:
    """Where an Incus is, in the words for people: nowhere else if `host` is None."""

    host: str | None = None

    @property
    def incus(self) -> str:
        """It, by its host."""
        return f"Incus on {self.host}" if self.host else "Incus"

    @property
    def there(self) -> str:
        """Where a command belongs that mends it."""
        return f" on {self.host}" if self.host else ""

    @property
    def flag(self) -> str:
        """What `pikaci image` must be told."""
        return f" --host {self.host}" if self.host else ""


HERE = Where()


def where_of(placement: Placement) -> Where:
    """Where a placement's Incus is."""
    return Where(placement.host) if placement.is_away else HERE


_LOOKING = ThreadPoolExecutor(max_workers=1, thread_name_prefix="departed")


async def check_guests(
    placement: Placement, plan: Plan, nodes: Sequence[ExecuteNode]
) -> GuestSurvey:
    """See that the host has Incus, and in it what these jobs of a plan need.

    Raises:
        UsageError: it hasn't; the hint says how to mend it.
        UnreachableError: Incus can't be reached.
    """
    for node in nodes:
        _check_texts(node)
    roles = {str(node.runtime_config.get("role")) for node in nodes}
    known = {image.role: image for image in plan.images}
    if missing := roles - known.keys():
        raise UsageError(f"the plan has no image for the role {min(missing)}", "plan it again")
    incus = await placement.incus()
    networks = {node.runtime_config.get("network") for node in nodes} - {None}
    images = [known[role] for role in sorted(roles)]
    needs = Needs(
        kinds=frozenset(image.instance_type for image in images),
        networks=frozenset(str(network) for network in networks),
        jobs={node.job_id: node.execute.resources for node in nodes},
    )
    site = placement.incus_site()
    mounting = asyncio.ensure_future(check_disk(placement, needs))
    try:
        found = await in_thread(_check, incus, site, images, needs, where_of(placement))
    finally:
        await asyncio.wait({mounting})
    mounting.result()
    # Nobody waits for it: whatever is not seen to be gone now is seen to later.
    if not placement.is_away:
        state = StateLayout(placement.state_root)
        _LOOKING.submit(_see_departed, state, incus, site.socket_path())
    return found


def _see_departed(state: StateLayout, incus: Incus, socket: Path) -> None:
    with suppress(PikaciError, OSError):
        see_departed(state, incus, socket)


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
    incus: Incus, site: IncusSite, images: Sequence[Image], needs: Needs, where: Where
) -> GuestSurvey:
    server = incus.server()
    _check_trust(server, where)
    try:
        found = survey(incus, site, [image.alias for image in images])
    except MissingError:
        check_project(incus, server, where)
        raise
    if found.profile is None:
        check_project(incus, server, where)
    check_place(incus, found, site, replace(needs, member=server.member), where)
    for image in images:
        check_image(incus, server, image, found.images[image.alias], where)
    for network in sorted(needs.networks):
        if not incus.has_network(network):
            raise UsageError(
                f"{where.host or 'the host'} has no bridge {network}",
                f"`incus network create {network}`{where.there} makes one",
            )
    return found


def _check_trust(server: Server, where: Where) -> None:
    if not server.is_trusted:
        raise UsageError(f"{where.incus} doesn't trust this user", "use its unix socket")


def check_project(incus: Incus, server: Server, where: Where = HERE) -> None:
    """See that Incus lets us in, and that the project is there.

    Raises:
        UsageError: it doesn't, or it isn't.
    """
    _check_trust(server, where)
    if incus.project_config() is None:
        raise UsageError(
            f"{where.incus} has no project {incus.project}",
            f"`incus project create {incus.project}`{where.there} makes one, or name yours in"
            f" {hosts_file()}",
        )


def check_place(
    incus: Incus, found: GuestSurvey, site: IncusSite, needs: Needs, where: Where
) -> None:
    """See that guests have a profile and a pool, and may be in the project.

    Raises:
        UsageError: they haven't.
    """
    if found.profile is None:
        raise UsageError(
            f"project {site.project} of {where.incus} has no profile {site.profile}",
            f"`incus profile create {site.profile} --project {site.project}`{where.there} makes"
            " one",
        )
    if found.pool is None:
        raise UsageError(
            f"profile {site.profile} of project {site.project}{where.there} has no root disk",
            f"`incus profile device add {site.profile} root disk path=/ pool=POOL"
            f" --project {site.project}`{where.there} gives it one",
        )
    if not found.unpacked and incus.pool_driver(found.pool) is None:
        raise UsageError(
            f"{where.incus} has no storage pool {found.pool}",
            f"`incus storage create {found.pool} btrfs`{where.there} makes one",
        )
    rules = objections(incus.project_config() or {}, found.profile, found.pool, needs)
    if rules.texts:
        raise UsageError(
            f"project {site.project} of {where.incus} refuses guests: {'; '.join(rules.texts)}",
            f"{rules.commands(site.project, site.profile)}{where.there}",
        )


def check_image(
    incus: Incus, server: Server, image: Image, found: StoredImage | None, where: Where
) -> None:
    """See that a role's image, `found` by its alias, will do.

    Raises:
        UsageError: it won't.
    """
    command = f"pikaci image import {image.role}{where.flag}"
    mend = (
        f"`{command}` builds the role's `package`, if it has one; `{command} --from DIR`"
        " takes the files of an image"
    )
    if found is None:
        raise UsageError(
            f"project {incus.project} of {where.incus} has no image {image.alias}"
            f" (role {image.role}, {image.instance_type})",
            mend,
        )
    is_vm = image.instance_type == "virtual-machine"
    if found.is_vm != is_vm:
        kind = "virtual-machine" if found.is_vm else "container"
        raise UsageError(
            f"image {image.alias}{where.there} is for a {kind}; role {image.role} asks for a"
            f" {image.instance_type}",
            mend,
        )
    if is_vm and VM_DRIVER not in server.drivers:
        whose = where.incus if where.host else "this host's Incus"
        raise UsageError(
            f"role {image.role} asks for a virtual machine, and {whose} can't run any",
            "`pikaci doctor` says what it lacks; or use the container image",
        )
