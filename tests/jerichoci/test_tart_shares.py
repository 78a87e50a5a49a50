"""A Mac guest is shown what was meant, by the rules with which tart reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import UsageError
from jerichoci.plan.payload import Mount, PayloadManifest
from jerichoci.plan.plan import InputRef
from jerichoci.runtime.tart.shares import GuestShares, Share
from jerichoci.state.ids import ID_PATTERN
from tart.directory_share import AUTOMOUNT_TAG, DirectoryShare, parse_share

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


def read(name: str, path: str | Path, *, read_only: bool = True) -> DirectoryShare:
    return DirectoryShare(name, Path(path), read_only, AUTOMOUNT_TAG)


def shown(ref: InputRef, planned: Path, manifest: PayloadManifest | None = None) -> GuestShares:
    shares = GuestShares()
    shares.add_input(ref, planned, manifest)
    return shares


def payload(guest_path: str, relative_path: str) -> PayloadManifest:
    mount = Mount(name="m", relative_path=relative_path, guest_path=guest_path)
    return PayloadManifest(schema_version=1, kind="data", mounts=[mount])


def lines(shares: GuestShares) -> list[list[str]]:
    text = shares.links_file().decode()
    assert not text or text.endswith("\n")
    return [line.split("\t") for line in text.splitlines()]


def whole(*, is_workspace: bool = False) -> GuestShares:
    """All that a job may be shown."""
    shares = GuestShares()
    shares.add("pikaci", Path("/control"))
    shares.add_snapshot(Path("/snapshot"), is_workspace=is_workspace)
    shares.add_artifacts(Path("/outbox"))
    shares.add_store(Path("/view"))
    shares.add("cache", Path("/cache"), read_only=False)
    return shares


@given(names, paths, st.booleans())
def test_no_share_is_misread(name: str, path: Path, read_only: bool) -> None:  # noqa: FBT001 - drawn
    option = Share(name, path, read_only=read_only).option()
    assert parse_share(option) == read(name, path, read_only=read_only)


@given(ids, paths)
def test_no_input_is_misread(node_id: str, path: Path) -> None:
    (option,) = shown(InputRef(node_id=node_id), path).options()
    assert parse_share(option) == read(f"input.{node_id}", path)


@given(paths, st.sampled_from([":", ":ro", "a:b"]))
def test_a_path_with_a_colon_is_refused(path: Path, part: str) -> None:
    with pytest.raises(UsageError, match="can't be shared with a VM: tart takes no path with `:`"):
        Share("x", path / part).option()


def test_a_guest_gets_all_that_it_is_shown_and_links_to_what_has_another_place() -> None:
    assert [parse_share(option) for option in whole().options()] == [
        read("pikaci", "/control"),
        read("snapshot", "/snapshot"),
        read("artifacts", "/outbox", read_only=False),
        read("store", "/view"),
        read("cache", "/cache", read_only=False),
    ]
    assert lines(whole()) == [
        [f"{SHARED}/artifacts", "/artifacts"],
        [f"{SHARED}/store", "/nix/store"],
    ]
    rows = lines(whole(is_workspace=True))
    assert [f"{SHARED}/snapshot", "/workspace/snapshot"] in rows


@pytest.mark.parametrize("name", ["pikaci", "snapshot", "artifacts", "store", "cache"])
def test_two_shares_of_one_name_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"shared with a VM are named {name}; .*another name"):
        whole().add(name, Path("/else"))


@pytest.mark.parametrize(
    ("planned", "guest_path", "shared", "links"),
    [
        (MADE, None, ["input.dep"], [[f"{SHARED}/input.dep", "/staged/dep"]]),
        (MADE, "/opt/dep", ["input.dep"], [[f"{SHARED}/input.dep", "/opt/dep"]]),
        (STORED, None, [], []),
        (STORED, "/opt/dep", [], [[str(STORED), "/opt/dep"]]),
    ],
)
def test_an_input_is_where_the_job_or_its_kind_says(
    planned: Path, guest_path: str | None, shared: list[str], links: list[list[str]]
) -> None:
    shares = shown(InputRef(node_id="dep", env="DEP", guest_path=guest_path), planned)
    assert [parse_share(option).name for option in shares.options()] == shared
    assert lines(shares) == links
    assert shares.env == {"DEP": links[0][1] if links else str(STORED)}


def test_an_input_at_two_places_is_shared_once() -> None:
    shares = shown(InputRef(node_id="dep"), MADE)
    shares.add_input(InputRef(node_id="dep", guest_path="/opt/dep"), MADE, None)
    assert len(shares.options()) == 1
    assert [path for _, path in lines(shares)] == ["/staged/dep", "/opt/dep"]


def test_parts_of_an_input_are_where_its_payload_says() -> None:
    manifest = payload("/opt/tool", "bin/tool")
    stored = shown(InputRef(node_id="dep"), STORED, manifest)
    assert lines(stored) == [[f"{STORED}/bin/tool", "/opt/tool"]]
    assert lines(shown(InputRef(node_id="dep"), MADE, manifest)) == [
        [f"{SHARED}/input.dep", "/staged/dep"],
        [f"{SHARED}/input.dep/bin/tool", "/opt/tool"],
    ]


@pytest.mark.parametrize("place", ["/opt/dep", "/workspace/snapshot/x", "/artifacts"])
def test_an_input_over_another_place_is_refused(place: str) -> None:
    shares = whole()
    shares.add_input(InputRef(node_id="a", guest_path="/opt/dep"), STORED, None)
    with pytest.raises(UsageError, match="lie over each other in the guest"):
        shares.add_input(InputRef(node_id="b", guest_path=place), MADE, None)


@pytest.mark.parametrize("name", ["a\tb", "a\nb"])
def test_a_path_that_can_not_be_a_line_is_refused(name: str) -> None:
    shares = shown(InputRef(node_id="dep"), STORED, payload("/opt/tool", name))
    with pytest.raises(UsageError, match="has a tab or a line break"):
        shares.links_file()
