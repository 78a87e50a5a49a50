"""What a project's configuration has against guests."""

from __future__ import annotations

import pytest

from jerichoci.plan.plan import Resources
from jerichoci.runtime.incus.api import Profile
from jerichoci.runtime.incus.rules import Needs, objections

ROOT = {"root": {"type": "disk", "path": "/", "pool": "fast"}}
SIZED = {"root": {**ROOT["root"], "size": "9GiB"}}
OPEN = {"restricted": "true", "restricted.devices.disk": "allow"}
WIRED = {**OPEN, "restricted.devices.nic": "allow"}
CONTAINER = Needs(frozenset({"container"}))
ON_BRIDGE = Needs(frozenset({"container"}), frozenset({"br0"}))
MACHINE = Needs(frozenset({"virtual-machine"}))


@pytest.mark.parametrize(
    ("config", "needs", "command"),
    [
        ({"restricted": "true"}, CONTAINER, "set p restricted.devices.disk=allow`"),
        ({"restricted": "On"}, CONTAINER, "set p restricted.devices.disk=allow`"),
        (OPEN | {"restricted.devices.disk": "block"}, MACHINE, "restricted.devices.disk=allow`"),
        (OPEN | {"restricted.devices.disk.paths": "/"}, CONTAINER, "devices.disk.paths=`"),
        (OPEN, ON_BRIDGE, "restricted.devices.nic=allow`"),
        (OPEN | {"restricted.devices.nic": "managed"}, ON_BRIDGE, "restricted.devices.nic=allow`"),
        (WIRED | {"restricted.networks.access": "a,b"}, ON_BRIDGE, "networks.access=a,b,br0`"),
        ({"limits.instances": "0"}, MACHINE, "set p limits.instances=20`"),
        ({"limits.virtual-machines": "0"}, MACHINE, "set p limits.virtual-machines=20`"),
        ({"limits.processes": "9"}, CONTAINER, "profile set d limits.processes=10000 --project p`"),
        ({"limits.disk": "9GiB"}, CONTAINER, "device set d root size=10GiB --project p`"),
        ({"limits.disk.pool.fast": "9GiB"}, CONTAINER, "device set d root size=10GiB --project p`"),
    ],
)
def test_what_is_forbidden_is_allowed_by_a_command(
    config: dict[str, str], needs: Needs, command: str
) -> None:
    found = objections(config, Profile("d", ROOT), "fast", needs)
    (text,) = found.texts
    assert "(`" in text or "must have" in text
    said = found.commands("p", "d")
    assert said.startswith("`incus pro")
    assert said.endswith(command)
    assert said.count("`") == 2


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        ({}, ON_BRIDGE),
        (OPEN, CONTAINER),
        (WIRED, ON_BRIDGE),
        ({"restricted": "false", "restricted.devices.disk": "block"}, CONTAINER),
        (OPEN | {"restricted.devices.nic": "block"}, CONTAINER),
        (WIRED | {"restricted.networks.access": "br0"}, ON_BRIDGE),
        ({"limits.instances": "3", "limits.containers": "0"}, MACHINE),
        ({"limits.disk.pool.other": "9GiB"}, CONTAINER),
        ({"limits.cpu": "4"}, CONTAINER),
    ],
)
def test_what_guests_do_not_need_may_be_forbidden(config: dict[str, str], needs: Needs) -> None:
    assert objections(config, Profile("d", ROOT), "fast", needs).texts == []


def test_where_the_sum_is_limited_each_guest_has_its_part_from_its_job_or_the_profile() -> None:
    config = {"limits.cpu": "4", "limits.memory": "4GiB", "limits.disk": "9GiB"}
    sized = Resources(cpus=1, memory_mib=512)
    kinds = frozenset({"container"})
    profile = Profile("d", SIZED)
    assert objections(config, profile, "fast", Needs(kinds, jobs={"a": sized})).texts == []
    found = objections(config, profile, "fast", Needs(kinds, jobs={"a": sized, "b": Resources()}))
    assert sorted(found.texts) == [
        f"job b must have `{key}`, of which the project limits the sum"
        for key in ("limits.cpu", "limits.memory")
    ]
    half = Profile("d", SIZED, {"limits.cpu": "1", "limits.memory": "1GiB"})
    assert objections(config, half, "fast", Needs(kinds, jobs={"b": Resources()})).texts == []
