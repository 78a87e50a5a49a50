"""What a Mac guest is shown is what was meant, by the rules that tart reads it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import UsageError
from jerichoci.plan.payload import Mount, PayloadManifest
from jerichoci.plan.plan import InputRef
from jerichoci.runtime.tart.shares import AUTOMOUNT_TAG, GuestShares, Share, share_variable
from jerichoci.state.ids import ID_PATTERN

STORED = Path("/nix/store/00000000000000000000000000000000-dep")
MADE = Path("/state/runs/r/prepared/dep")
SHARED = "/Volumes/My Shared Files"
TRAPS = ["a,ro", "ro", ",ro,", "tag=x", "a,tag=x", "tag=", "ro,tag=x", "~", "-", "http", " ", "\n"]
ids = st.sampled_from(["http", "https", "ro"]) | st.from_regex(ID_PATTERN, fullmatch=True)
names = ids.filter(lambda name: name not in {"http", "https"})
parts = st.sampled_from(TRAPS) | st.text(
    st.characters(exclude_characters=":/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
paths = st.lists(parts, min_size=1, max_size=5).map(lambda found: Path("/", *found))


@dataclass(frozen=True)
class Read:
    """What tart takes a share for; what it would download has no name."""

    name: str | None
    path: str
    tag: str
    read_only: bool


def tart_reads(value: str) -> Read:
    """`[name:]path[:options]`: empty parts count for nothing, and options are what looks so.

    The last part is options if any of its words is one, wherever it stands.
    """
    said = [part for part in value.split(":") if part]
    words = [word for word in said[-1].split(",") if word]
    read_only = "ro" in words
    tagged = [word.removeprefix("tag=") for word in words if word.startswith("tag=")]
    if read_only or tagged:
        said = said[:-1]
    tag = tagged[-1] if tagged else AUTOMOUNT_TAG
    rest = ":".join(said)
    if rest.startswith(("http:", "https:")):
        return Read(None, rest, tag, read_only)
    name, colon, path = rest.partition(":")
    return Read(name, path, tag, read_only) if colon else Read(None, rest, tag, read_only)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("/a", Read(None, "/a", AUTOMOUNT_TAG, read_only=False)),
        ("a:/a", Read("a", "/a", AUTOMOUNT_TAG, read_only=False)),
        ("a:/a:ro", Read("a", "/a", AUTOMOUNT_TAG, read_only=True)),
        ("a:/a:ro,tag=x", Read("a", "/a", "x", read_only=True)),
        ("a:/b,ro", Read(None, "a", AUTOMOUNT_TAG, read_only=True)),
        ("http:/a:ro", Read(None, "http:/a", AUTOMOUNT_TAG, read_only=True)),
    ],
)
def test_tart_reads_shares_so(value: str, read: Read) -> None:
    assert tart_reads(value) == read


def test_options_are_spelt_as_tarts_help_does() -> None:
    source = Path("/a b")
    automounted = "tag=com.apple.virtio-fs.automount"
    assert Share("pikaci", source).option() == f"pikaci:/a b:ro,{automounted}"
    assert Share("cache", source, read_only=False).option() == f"cache:/a b:{automounted}"


@given(names, paths, st.booleans())
def test_no_share_is_misread(name: str, path: Path, read_only: bool) -> None:  # noqa: FBT001 - drawn
    option = Share(name, path, read_only=read_only).option()
    assert tart_reads(option) == Read(name, str(path), AUTOMOUNT_TAG, read_only)


@given(ids, paths)
def test_no_input_is_misread(node_id: str, path: Path) -> None:
    (option,) = shown(InputRef(node_id=node_id), path).options()
    assert tart_reads(option) == Read(f"input.{node_id}", str(path), AUTOMOUNT_TAG, read_only=True)


@given(paths, st.sampled_from([":", ":ro", "a:b"]))
def test_a_path_with_a_colon_is_refused(path: Path, part: str) -> None:
    with pytest.raises(UsageError, match="can't be shared with a VM: tart takes no path with `:`"):
        Share("x", path / part).option()


def whole(*, is_workspace: bool = False) -> GuestShares:
    """All that a job may be shown."""
    shares = GuestShares()
    shares.add("pikaci", Path("/control"))
    shares.add_snapshot(Path("/snapshot"), is_workspace=is_workspace)
    shares.add_artifacts(Path("/outbox"))
    shares.add_store(Path("/view"))
    shares.add("cache", Path("/cache"), read_only=False)
    return shares


def test_a_guest_gets_all_that_it_is_shown() -> None:
    assert [tart_reads(option) for option in whole().options()] == [
        Read("pikaci", "/control", AUTOMOUNT_TAG, read_only=True),
        Read("snapshot", "/snapshot", AUTOMOUNT_TAG, read_only=True),
        Read("artifacts", "/outbox", AUTOMOUNT_TAG, read_only=False),
        Read("store", "/view", AUTOMOUNT_TAG, read_only=True),
        Read("cache", "/cache", AUTOMOUNT_TAG, read_only=False),
    ]


def test_a_guest_has_a_share_by_its_name() -> None:
    assert GuestShares().add("x", Path("/y")).guest_path == "/Volumes/My Shared Files/x"


@pytest.mark.parametrize("name", ["pikaci", "snapshot", "artifacts", "store", "cache"])
def test_two_shares_of_one_name_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"shared with a VM are named {name}; .*another name"):
        whole().add(name, Path("/else"))


def test_links_lead_to_what_has_another_place() -> None:
    assert lines(whole().links_file()) == [
        [f"{SHARED}/artifacts", "/artifacts"],
        [f"{SHARED}/store", "/nix/store"],
    ]


def test_a_workspace_that_is_only_read_is_the_snapshot_itself() -> None:
    rows = lines(whole(is_workspace=True).links_file())
    assert [f"{SHARED}/snapshot", "/workspace/snapshot"] in rows


def test_what_is_no_store_path_is_shared_and_linked_to() -> None:
    shares = shown(InputRef(node_id="dep", env="DEP"), MADE)
    assert [tart_reads(option).name for option in shares.options()] == ["input.dep"]
    assert lines(shares.links_file()) == [[f"{SHARED}/input.dep", "/staged/dep"]]
    assert shares.env == {"DEP": "/staged/dep"}


def test_an_input_at_two_places_is_shared_once() -> None:
    shares = shown(InputRef(node_id="dep"), MADE)
    shares.add_input(InputRef(node_id="dep", guest_path="/opt/dep"), MADE, None)
    assert len(shares.options()) == 1
    assert [path for _, path in lines(shares.links_file())] == ["/staged/dep", "/opt/dep"]


def test_a_store_path_is_where_it_is_and_needs_no_share_of_its_own() -> None:
    shares = shown(InputRef(node_id="dep", env="DEP"), STORED)
    assert shares.options() == []
    assert shares.links_file() == b""
    assert shares.env == {"DEP": str(STORED)}


@pytest.mark.parametrize(
    ("planned", "target"), [(STORED, str(STORED)), (MADE, f"{SHARED}/input.dep")]
)
def test_an_input_is_where_the_job_says(planned: Path, target: str) -> None:
    shares = shown(InputRef(node_id="dep", env="DEP", guest_path="/opt/dep"), planned)
    assert lines(shares.links_file()) == [[target, "/opt/dep"]]
    assert shares.env == {"DEP": "/opt/dep"}


def test_parts_of_an_input_are_where_its_payload_says() -> None:
    manifest = payload("/opt/tool", "bin/tool")
    assert lines(shown(InputRef(node_id="dep"), STORED, manifest).links_file()) == [
        [f"{STORED}/bin/tool", "/opt/tool"]
    ]
    assert lines(shown(InputRef(node_id="dep"), MADE, manifest).links_file()) == [
        [f"{SHARED}/input.dep", "/staged/dep"],
        [f"{SHARED}/input.dep/bin/tool", "/opt/tool"],
    ]


def test_two_inputs_at_one_place_are_refused() -> None:
    shares = shown(InputRef(node_id="a", guest_path="/opt/dep"), STORED)
    with pytest.raises(UsageError, match="lie over each other in the guest: /opt/dep and /opt/dep"):
        shares.add_input(InputRef(node_id="b", guest_path="/opt/dep"), MADE, None)


@pytest.mark.parametrize("place", ["/workspace/snapshot/x", "/artifacts"])
def test_an_input_over_what_every_job_has_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match="lie over each other in the guest"):
        whole().add_input(InputRef(node_id="dep", guest_path=place), STORED, None)


@pytest.mark.parametrize("name", ["a\tb", "a\nb"])
def test_a_path_that_is_no_line_is_refused(name: str) -> None:
    shares = shown(InputRef(node_id="dep"), STORED, payload("/opt/tool", name))
    with pytest.raises(UsageError, match="has a tab or a line break"):
        shares.links_file()


def test_a_share_has_a_variable() -> None:
    assert share_variable("my-cache_2") == "PIKACI_SHARE_MY_CACHE_2"


def shown(ref: InputRef, planned: Path, manifest: PayloadManifest | None = None) -> GuestShares:
    shares = GuestShares()
    shares.add_input(ref, planned, manifest)
    return shares


def payload(guest_path: str, relative_path: str) -> PayloadManifest:
    mount = Mount(name="m", relative_path=relative_path, guest_path=guest_path)
    return PayloadManifest(schema_version=1, kind="data", mounts=[mount])


def lines(data: bytes) -> list[list[str]]:
    text = data.decode()
    assert not text or text.endswith("\n")
    return [line.split("\t") for line in text.splitlines()]
