from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jerichoci.errors import UsageError
from jerichoci.plan.payload import Mount as PayloadMount
from jerichoci.plan.payload import PayloadManifest
from jerichoci.plan.plan import InputRef
from jerichoci.runtime.guest_mounts import GuestMounts, Mount, interface, is_stored, place

STORED = Path("/nix/store/00000000000000000000000000000000-dep")
MADE, SHOWN = Path("/state/runs/x/prepared/dep"), Path("/view/dep")


def at(*paths: str) -> GuestMounts:
    """Mounts at these paths of the guest."""
    mounts = GuestMounts()
    for number, path in enumerate(paths):
        mounts.add(str(number), Mount(Path("/host"), path))
    return mounts


def payload(**paths: str) -> PayloadManifest:
    """A manifest that mounts parts of its output, by their guest paths."""
    mounts = [
        PayloadMount(name=f"m{number}", relative_path=part, guest_path=path)
        for number, (path, part) in enumerate(paths.items())
    ]
    return PayloadManifest(schema_version=1, kind="data", mounts=mounts)


def ref(env: str | None = "DEP", guest_path: str | None = None) -> InputRef:
    return InputRef(node_id="dep", env=env, guest_path=guest_path)


def sources(mounts: GuestMounts) -> dict[str, Path]:
    return {mount.path: mount.source for mount in mounts.mounts.values()}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/a", "/a/b"),
        ("/a/b", "/a"),
        ("/a/b/c", "/a"),
        ("/artifacts", "/artifacts/x"),
    ],
)
def test_two_mounts_over_each_other_are_refused_by_their_paths(first: str, second: str) -> None:
    with pytest.raises(UsageError) as caught:
        at(first, second)
    assert caught.value.message == (
        f"two of the job's mounts lie over each other in the guest: {first} and {second}"
    )
    assert caught.value.hint


@pytest.mark.parametrize(("first", "second"), [("/a", "/b"), ("/a", "/ab"), ("/a/b", "/a/bc")])
def test_two_mounts_beside_each_other_are_none_of_each_others_business(
    first: str, second: str
) -> None:
    assert at(first, second).paths == f"{first}:{second}"


def test_a_mount_that_is_refused_is_not_among_them() -> None:
    mounts = at("/a")
    with pytest.raises(UsageError):
        mounts.add("other", Mount(Path("/host"), "/a/b"))
    assert mounts.paths == "/a"


def test_a_containers_mount_is_shifted_and_a_machines_is_virtiofs() -> None:
    mount = Mount(Path("/host/x"), "/x")
    plain = {"type": "disk", "source": "/host/x", "path": "/x", "readonly": "true"}
    assert mount.device(is_vm=False) == {**plain, "shift": "true"}
    assert mount.device(is_vm=True) == {**plain, "io.bus": "virtiofs"}
    assert "readonly" not in replace(mount, read_only=False).device(is_vm=False)


@pytest.mark.parametrize(
    ("planned", "guest_path", "mounted", "leads_to"),
    [
        (MADE, None, {"/staged/dep": SHOWN}, "/staged/dep"),
        (MADE, "/data", {"/data": SHOWN}, "/data"),
        # A store path is where it always is, and needs no mount.
        (STORED, None, {}, str(STORED)),
        (STORED, "/data", {"/data": SHOWN}, "/data"),
    ],
)
def test_an_input_is_where_the_plan_wants_it_and_the_job_is_led_there(
    planned: Path, guest_path: str | None, mounted: dict[str, Path], leads_to: str
) -> None:
    for env in ("DEP", None):
        mounts = GuestMounts()
        mounts.add_input(ref(env, guest_path), planned, SHOWN, None)
        assert sources(mounts) == mounted
        assert mounts.env == ({env: leads_to} if env else {})
        assert place(ref(env, guest_path), planned) == leads_to


def test_a_payloads_mounts_are_parts_of_the_source_that_the_host_shows(tmp_path: Path) -> None:
    (tmp_path / "share/data-1").mkdir(parents=True)
    (tmp_path / "link").symlink_to("share/data-1")
    mounts = GuestMounts()
    manifest = payload(**{"/data": "share/data-1", "/all": ".", "/linked": "link"})
    mounts.add_input(ref(), tmp_path, SHOWN, manifest)
    assert sources(mounts) == {
        "/staged/dep": SHOWN,
        "/data": SHOWN / "share/data-1",
        "/all": SHOWN,
        "/linked": SHOWN / "share/data-1",
    }


def test_a_payload_that_wants_its_place_from_the_plan_gets_it_once(tmp_path: Path) -> None:
    mounts = GuestMounts()
    mounts.add_input(ref(guest_path="/data"), tmp_path, tmp_path, payload(**{"/data": "."}))
    assert sources(mounts) == {"/data": tmp_path}


def test_payloads_of_two_inputs_that_want_one_place_are_refused(tmp_path: Path) -> None:
    mounts = GuestMounts()
    manifest = payload(**{"/data": "."})
    mounts.add_input(ref(), tmp_path, tmp_path, manifest)
    other = InputRef(node_id="other", env="OTHER")
    with pytest.raises(UsageError, match="over each other in the guest: /data and /data"):
        mounts.add_input(other, tmp_path, tmp_path, manifest)


def test_only_what_is_in_the_store_is_stored() -> None:
    assert is_stored(STORED)
    assert is_stored(STORED / "bin")
    assert not is_stored(Path("/nix/store"))
    assert not is_stored(Path("/nix/storeroom/x"))


def test_the_named_network_is_the_only_interface() -> None:
    none = {"type": "none"}
    assert interface(None, []) == {}
    assert interface(None, ["eth0", "up"]) == {"eth0": none, "up": none}
    devices = interface("br0", ["eth0", "up"])
    assert (devices.pop("up"), devices.pop("eth0")["parent"]) == (none, "br0")
    assert devices == {}
