"""What doctor says of an Incus, and of images that the flake asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from jerichoci.nix.command import NixOptions
from jerichoci.placement import IncusSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.hosts import local_settings
from jerichoci.runtime.incus.api import (
    IncusError,
    Network,
    Profile,
    Server,
    StoredImage,
    UnreachableError,
)
from jerichoci.runtime.incus.check import Where
from jerichoci.runtime.incus.image import CONTENT_PROPERTY, DRV_PROPERTY
from pikaci.doctor import guests
from pikaci.doctor.catalog import FlakeNeeds
from pikaci.doctor.guests import findings_of, guest_findings
from pikaci.images import RoleImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jerichoci.errors import PikaciError
    from jerichoci.runtime.incus.client import Incus
    from pikaci.doctor.finding import Finding

CONTAINER, MACHINE = "container", "virtual-machine"
GIB = 2**30
ROOT = {"type": "disk", "path": "/", "pool": "fast"}


@dataclass
class FakeIncus:
    """What doctor asks of an Incus."""

    project: str = "pikaci"
    error: PikaciError | None = None
    trusted: bool = True
    member: str | None = None
    drivers: tuple[str, ...] = ("lxc", "qemu")
    projects: tuple[str, ...] = ("pikaci",)
    config: dict[str, str] = field(default_factory=dict)
    root: dict[str, str] | None = field(default_factory=lambda: dict(ROOT))
    profiles: tuple[str, ...] = ("default",)
    pools: dict[str, str] = field(default_factory=lambda: {"fast": "btrfs", "slow": "dir"})
    free: int | None = 5 * GIB
    stored: StoredImage | None = None
    unlimited: bool | None = False
    bridges: tuple[Network, ...] = (
        Network("incusbr0", "bridge", is_managed=True),
        Network("br0", "bridge", is_managed=False),
        Network("eth0", "physical", is_managed=False),
    )

    def server(self) -> Server:
        if self.error:
            raise self.error
        return Server("6.0.4", self.drivers, self.trusted, self.member)

    def ignores_memory_limits(self) -> bool:
        if self.unlimited is None:
            raise IncusError("Incus: not allowed")
        return self.unlimited

    def project_config(self) -> dict[str, str] | None:
        return self.config if self.project in self.projects else None

    def profile(self, name: str) -> Profile | None:
        devices = {"root": self.root} if self.root else {}
        return Profile(name, devices) if name in self.profiles else None

    def pool_driver(self, pool: str) -> str | None:
        return self.pools.get(pool)

    def pool_free_bytes(self, pool: str) -> int | None:
        assert pool in self.pools
        return self.free

    def image(self, alias: str) -> StoredImage | None:
        return self.stored if self.stored and alias in self.stored.aliases else None

    def networks(self) -> list[Network]:
        return list(self.bridges)


def stored(properties: Mapping[str, str] | None = None, *, is_vm: bool = False) -> StoredImage:
    when = "2026-11-21T07:18:00Z"
    return StoredImage(
        "f" * 64, ("pikaci/dev",), is_vm, "x86_64", 60 * 2**20, when, when, properties or {}
    )


def wanted(kind: str = CONTAINER, *, buildable: bool = True) -> FlakeNeeds:
    image = RoleImage("dev", "pikaci/dev", kind, "x86_64-linux")
    return FlakeNeeds((image,), buildable=frozenset({"dev"} if buildable else ()))


async def look(
    incus: FakeIncus, asked: FlakeNeeds | None = None, site: IncusSettings | None = None
) -> dict[str, Finding]:
    site = site or IncusSettings(socket="/nowhere/socket")
    rows = await findings_of(cast("Incus", incus), site, asked or FlakeNeeds(), Where())
    assert all((row.status == "ok") == (row.hint is None) for row in rows)
    return {row.name: row for row in rows}


async def test_all_is_well() -> None:
    found = await look(FakeIncus(stored=stored()), wanted())
    assert found["incus"].text == "6.0.4 at /nowhere/socket"
    assert found["incus pool"].text == "fast, btrfs"
    assert found["pool space"].text == "5120 MiB free in fast"
    assert found["image dev"].text == "pikaci/dev, container, 60 MiB, imported 2026-11-21"
    assert found["bridges"].text == "incusbr0 of Incus; br0 of the host"
    assert {row.status for name, row in found.items() if name != "virtual machines"} == {"ok"}


@pytest.mark.parametrize(
    ("incus", "name", "text", "hint"),
    [
        (FakeIncus(trusted=False), "incus", "doesn't trust", "unix socket"),
        (
            FakeIncus(projects=()),
            "incus project",
            "no project pikaci",
            "incus project create pikaci",
        ),
        (
            FakeIncus(profiles=()),
            "incus profile",
            "no profile default",
            "incus profile create default --project pikaci",
        ),
        (
            FakeIncus(root=None),
            "incus pool",
            "no root disk",
            "incus profile device add default root",
        ),
        (
            FakeIncus(pools={}),
            "incus pool",
            "no storage pool fast",
            "incus storage create fast btrfs",
        ),
    ],
)
async def test_what_is_missing_is_bad_where_images_are_asked_for(
    incus: FakeIncus, name: str, text: str, hint: str
) -> None:
    for asked, status in ((FlakeNeeds(), "note"), (wanted(), "bad")):
        found = (await look(incus, asked))[name]
        assert found.status == status
        assert text in found.text
        assert hint in (found.hint or "")


async def test_a_slow_or_full_pool_is_noted() -> None:
    found = await look(FakeIncus(free=GIB // 2), site=IncusSettings(pool="slow"))
    assert found["incus pool"].status == found["pool space"].status == "note"
    assert "ten times" in found["incus pool"].text
    assert "btrfs" in (found["incus pool"].hint or "")
    assert found["pool space"].text == "512 MiB free in slow"
    assert "disk" in (found["pool space"].hint or "")
    assert "pool space" not in await look(FakeIncus(free=None))
    assert "incus storage set fast" in ((await look(FakeIncus(free=1)))["pool space"].hint or "")


async def test_a_cluster_is_told() -> None:
    found = await look(FakeIncus(member="one"))
    assert found["incus"].text == "6.0.4 at /nowhere/socket, member one of a cluster"
    strict = {"restricted": "true", "restricted.devices.disk": "allow"}
    found = await look(FakeIncus(member="one", config=strict), wanted())
    assert "(`restricted.cluster.target`)" in found["incus project"].text


async def test_memory_that_is_not_limited_is_noted() -> None:
    found = (await look(FakeIncus(unlimited=True)))["guest memory"]
    assert found.status == "note"
    assert "`resources.memoryMib` is no limit" in found.text
    for unlimited in (False, None):
        assert "guest memory" not in await look(FakeIncus(unlimited=unlimited))


@pytest.mark.parametrize("free", [0, 10 * 2**20])
async def test_a_pool_without_room_is_bad_where_images_are_asked_for(free: int) -> None:
    assert (await look(FakeIncus(free=free), wanted()))["pool space"].status == "bad"
    assert (await look(FakeIncus(free=free)))["pool space"].status == "note"


@pytest.mark.parametrize(
    ("image", "asked", "text", "hint"),
    [
        (
            None,
            wanted(),
            "image pikaci/dev (role dev, container)",
            "`pikaci image import dev`",
        ),
        (None, wanted(buildable=False), "has no image", "`pikaci image import dev --from DIR`"),
        (
            stored(is_vm=True),
            wanted(),
            "is for a virtual-machine; role dev asks for a container",
            "image import dev`",
        ),
        (
            stored(),
            wanted(MACHINE),
            "is for a container; role dev asks for a virtual-machine",
            "image import dev`",
        ),
    ],
)
async def test_an_image_that_jobs_can_t_have_is_bad(
    image: StoredImage | None, asked: FlakeNeeds, text: str, hint: str
) -> None:
    found = (await look(FakeIncus(stored=image), asked))["image dev"]
    assert found.status == "bad"
    assert text in found.text
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("now", "status", "text"),
    [("/nix/store/a.drv", "ok", ", current"), ("/nix/store/b.drv", "note", "another one now")],
)
async def test_an_image_is_compared_with_what_the_flake_builds(
    monkeypatch: pytest.MonkeyPatch, now: str, status: str, text: str
) -> None:
    async def drv_path(_: FlakeNeeds, role: str) -> str:
        assert role == "dev"
        return now

    monkeypatch.setattr(FlakeNeeds, "drv_path", drv_path)
    image = stored({DRV_PROPERTY: "/nix/store/a.drv"})
    found = (await look(FakeIncus(stored=image), wanted()))["image dev"]
    assert found.status == status
    assert text in found.text


async def test_whether_an_image_is_current_may_take_too_long_to_tell() -> None:
    image = stored({DRV_PROPERTY: "/nix/store/a.drv"})
    found = (await look(FakeIncus(stored=image), wanted()))["image dev"]
    assert "pikaci image list --check" in found.text
    found = (await look(FakeIncus(stored=stored({CONTENT_PROPERTY: "c"})), wanted()))["image dev"]
    assert found.text.endswith("from files")


async def test_what_vms_lack_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.touch()
    monkeypatch.setattr(guests, "VM_DEVICES", {str(device): "load it"})
    assert (await look(FakeIncus()))["virtual machines"].status == "ok"
    monkeypatch.setattr(guests, "VM_DEVICES", {str(tmp_path / "none"): "load it"})
    for asked, status in ((wanted(), "note"), (wanted(MACHINE), "bad")):
        found = (await look(FakeIncus(drivers=("lxc",)), asked))["virtual machines"]
        assert found.status == status
        assert str(tmp_path / "none") in found.text
        assert "qemu" in found.text
        monkeypatch.setattr(guests, "_has_modules", lambda: True)
        found = (await look(FakeIncus(drivers=("lxc",)), asked))["virtual machines"]
        assert "load it; install QEMU" in (found.hint or "")
        monkeypatch.setattr(guests, "_has_modules", lambda: False)
        found = (await look(FakeIncus(drivers=("lxc",)), asked))["virtual machines"]
        assert found.hint == f"{guests.NO_MODULES}; {guests.NO_QEMU}"


async def test_a_host_without_bridges_gives_no_network() -> None:
    found = (await look(FakeIncus(bridges=())))["bridges"]
    assert "incus network create" in (found.hint or "")


async def test_incus_that_fails_half_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FakeIncus) -> bool:
        raise IncusError("Incus: its database is locked")

    monkeypatch.setattr(FakeIncus, "project_config", fail)
    incus = FakeIncus()
    rows = await findings_of(cast("Incus", incus), IncusSettings(), wanted(), Where())
    assert ("bad", "Incus: its database is locked") in [(row.status, row.text) for row in rows]


async def test_incus_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pikaci.doctor.machine.SYSTEMD", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(guests, "DAEMON_PLACES", ())
    site = IncusSettings(socket=str(tmp_path / "socket"))
    incus = FakeIncus(error=UnreachableError("no", "hint"))
    found = (await look(incus, site=site))["incus"]
    assert found.status == "note"
    assert "not installed" in found.text
    assert (await look(incus, wanted(), site))["incus"].status == "bad"
    (tmp_path / "incusd").touch(mode=0o755)
    found = (await look(incus, site=site))["incus"]
    assert "Incus is not running" in found.text
    assert f"`{tmp_path}/incusd --group incus-admin &`" in (found.hint or "")
    monkeypatch.setattr("pikaci.doctor.machine.SYSTEMD", tmp_path)
    found = (await look(incus, site=site))["incus"]
    assert "systemctl start incus" in (found.hint or "")
    (tmp_path / "incusd").unlink()
    monkeypatch.setattr("sys.platform", "darwin")
    found = (await look(incus, site=site))["incus"]
    assert "Incus runs on Linux" in found.text


async def test_incus_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = IncusSettings(socket=str(tmp_path / "socket"))
    (tmp_path / "socket").touch()
    found = (await look(FakeIncus(error=UnreachableError("refused", "ask doctor")), site=site))[
        "incus"
    ]
    assert found.text == "refused"
    assert "start it" in (found.hint or "")
    # Who may not write to it is told which group may.
    monkeypatch.setattr(os, "access", lambda *_: False)
    incus = FakeIncus(error=UnreachableError("no permission", "join the group incus-admin"))
    found = (await look(incus, site=site))["incus"]
    assert (found.text, found.hint) == ("no permission", "join the group incus-admin")


async def test_a_hosts_file_that_can_t_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pikaci").mkdir()
    (tmp_path / "pikaci/hosts.toml").write_text("[local.incus]\nsockt = 'x'\n")
    (found,) = await guest_findings(
        LocalPlacement(tmp_path, NixOptions(), local_settings), wanted()
    )
    assert found.status == "bad"
    assert "sockt" in found.text
