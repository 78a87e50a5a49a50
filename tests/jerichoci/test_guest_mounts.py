from __future__ import annotations

from pathlib import Path

import pytest

from jerichoci.errors import UsageError
from jerichoci.plan.payload import Mount as PayloadMount
from jerichoci.plan.payload import PayloadManifest
from jerichoci.plan.plan import InputRef
from jerichoci.runtime.guest_mounts import GuestMounts, Mount, interface, is_stored, place

STORED = Path("/nix/store/00000000000000000000000000000000-dep")


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


def test_a_mount_that_may_be_written_to_does_not_say_read_only() -> None:
    device = Mount(Path("/host/x"), "/x", read_only=False).device(is_vm=False)
    assert "readonly" not in device


def test_each_mount_is_a_device_of_its_own() -> None:
    mounts = at("/a", "/b")
    mounts.add_input(ref(), Path("/run/prepared/dep"), Path("/run/prepared/dep"), None)
    devices = mounts.devices(is_vm=True)
    assert [device["path"] for device in devices.values()] == ["/a", "/b", "/staged/dep"]


def test_what_a_host_command_made_is_staged_and_the_job_is_led_there() -> None:
    mounts, made = GuestMounts(), Path("/state/runs/x/prepared/dep")
    mounts.add_input(ref(), made, made, None)
    assert sources(mounts) == {"/staged/dep": made}
    assert mounts.env == {"DEP": "/staged/dep"}


def test_a_store_path_is_where_it_always_is_and_needs_no_mount() -> None:
    mounts = GuestMounts()
    mounts.add_input(ref(), STORED, Path("/view/dep"), None)
    assert mounts.mounts == {}
    assert mounts.env == {"DEP": str(STORED)}


def test_a_store_path_that_the_plan_wants_elsewhere_is_mounted_there_from_the_view() -> None:
    mounts = GuestMounts()
    mounts.add_input(ref(guest_path="/data"), STORED, Path("/view/dep"), None)
    assert sources(mounts) == {"/data": Path("/view/dep")}
    assert mounts.env == {"DEP": "/data"}


def test_what_a_host_command_made_is_where_the_plan_wants_it() -> None:
    mounts, made = GuestMounts(), Path("/state/prepared/dep")
    mounts.add_input(ref(guest_path="/data"), made, made, None)
    assert sources(mounts) == {"/data": made}


def test_an_input_that_only_the_jobs_text_names_has_no_variable() -> None:
    mounts = GuestMounts()
    mounts.add_input(ref(env=None), STORED, Path("/view/dep"), None)
    assert mounts.env == {}


def test_a_payloads_mounts_are_parts_of_the_source_that_the_host_shows(tmp_path: Path) -> None:
    output = tmp_path / "output"
    (output / "share/data").mkdir(parents=True)
    mounts = GuestMounts()
    manifest = payload(**{"/data": "share/data", "/all": "."})
    mounts.add_input(ref(), output, Path("/view/dep"), manifest)
    assert sources(mounts) == {
        "/staged/dep": Path("/view/dep"),
        "/data": Path("/view/dep/share/data"),
        "/all": Path("/view/dep"),
    }


def test_a_payloads_mount_that_is_a_link_shows_what_it_leads_to(tmp_path: Path) -> None:
    output = tmp_path / "output"
    (output / "share/data-1").mkdir(parents=True)
    (output / "data").symlink_to("share/data-1")
    mounts = GuestMounts()
    mounts.add_input(ref(), output, Path("/view/dep"), payload(**{"/data": "data"}))
    assert sources(mounts)["/data"] == Path("/view/dep/share/data-1")


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


def test_a_place_is_the_plans_or_the_stores_or_the_staging_area() -> None:
    assert place(ref(guest_path="/x"), STORED) == "/x"
    assert place(ref(), STORED) == str(STORED)
    assert place(ref(), Path("/elsewhere")) == "/staged/dep"


def test_no_network_masks_every_interface_of_the_profile() -> None:
    assert interface(None, {}) == {}
    assert interface(None, {"eth0": 1, "up": 1}) == {
        name: {"type": "none"} for name in ("eth0", "up")
    }


def test_a_network_is_the_only_interface() -> None:
    devices = interface("br0", {"eth0": 1, "up": 1})
    assert devices["up"] == {"type": "none"}
    assert devices["eth0"]["parent"] == "br0"
    assert len(devices) == 2
