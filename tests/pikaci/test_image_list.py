"""What `pikaci image list` says of roles and of what is on a host."""

from __future__ import annotations

import pytest

from jerichoci.runtime.incus.api import StoredImage
from jerichoci.runtime.incus.image import ALIAS_PROPERTY, CONTENT_PROPERTY, DRV_PROPERTY
from pikaci.commands.image_list import as_table, rows_of
from pikaci.images import RoleImage

DRV = "/nix/store/aaaa-incus-image.drv"
RUNNER = RoleImage("runner", "pikaci/dev", "container", "x86_64-linux")


def stored(
    name: str, *aliases: str, is_vm: bool = False, uploaded: str = "", **properties: str
) -> StoredImage:
    return StoredImage(
        fingerprint=name * 64,
        aliases=aliases,
        is_vm=is_vm,
        architecture="x86_64",
        size_bytes=63 * 2**20,
        created_at="",
        uploaded_at=uploaded or "2026-11-21T07:33:53.326057205Z",
        properties={f"user.pikaci.{key}": value for key, value in properties.items()},
    )


def test_properties_are_those_of_images() -> None:
    assert (DRV_PROPERTY, CONTENT_PROPERTY, ALIAS_PROPERTY) == (
        "user.pikaci.drv",
        "user.pikaci.content",
        "user.pikaci.alias",
    )


@pytest.mark.parametrize(
    ("image", "now", "current"),
    [
        (stored("a", "pikaci/dev", drv=DRV), DRV, "yes"),
        (stored("a", "pikaci/dev", drv="/nix/store/bbbb.drv"), DRV, "no"),
        (stored("a", "pikaci/dev", content="a" * 64), DRV, "no"),
        (stored("a", "pikaci/dev", is_vm=True, drv=DRV), DRV, "no"),
        (stored("a", "pikaci/dev", drv=DRV), None, "unknown"),
        (None, None, "no"),
    ],
)
def test_an_image_is_current_if_it_is_what_would_be_built_now(
    image: StoredImage | None, now: str | None, current: str
) -> None:
    images, drvs = [image] if image else [], {"runner": now} if now else {}
    assert rows_of([RUNNER], images, drvs)[0].current == current


def test_roles_come_first_then_other_aliases_then_images_without() -> None:
    images = [
        stored("c", uploaded="2026-11-21T08:00:00Z", alias="pikaci/dev", drv=DRV),
        stored("d", uploaded="2026-11-21T07:00:00Z"),
        stored("a", "pikaci/dev", "second", drv=DRV),
        stored("b", "first"),
    ]

    rows = rows_of([RUNNER], images, {})

    found = [(row.alias, row.role, row.image and row.image.fingerprint[0]) for row in rows]
    assert found == [
        ("pikaci/dev", "runner", "a"),
        ("first", None, "b"),
        ("second", None, "a"),
        (None, None, "d"),
        (None, None, "c"),
    ]


def test_roles_that_share_an_alias_have_a_row_each() -> None:
    other = RoleImage("other", "pikaci/dev", "container", "x86_64-linux")

    rows = rows_of([RUNNER, other], [stored("a", "pikaci/dev")], {})

    assert [row.role for row in rows] == ["runner", "other"]


def test_a_table_is_for_people() -> None:
    missing = RoleImage("vm", "pikaci/vm", "virtual-machine", "x86_64-linux")
    images = [
        stored("a", "pikaci/dev", drv=DRV),
        stored("b", "odd", content="b" * 64, uploaded="2026-11-21T09:10:11.5+02:00"),
        stored("c", alias="pikaci/dev", drv=DRV),
        stored("d"),
    ]

    lines = [
        line.split("  ") for line in as_table(rows_of([RUNNER, missing], images, {})).splitlines()
    ]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]

    when = "2026-11-21 07:33 UTC"
    assert cells == [
        ["ALIAS", "ROLE", "TYPE", "FINGERPRINT", "SIZE", "IMPORTED", "CURRENT", "BUILT FROM"],
        [
            "pikaci/dev",
            "runner",
            "container",
            "a" * 12,
            "63 MiB",
            when,
            "unknown",
            "aaaa-incus-image",
        ],
        ["pikaci/vm", "vm", "virtual-machine", "missing", "no"],
        [
            "odd",
            "container",
            "b" * 12,
            "63 MiB",
            "2026-11-21 07:10 UTC",
            "unknown",
            f"files {'b' * 12}",
        ],
        ["(was pikaci/dev)", "container", "c" * 12, "63 MiB", when, "unknown", "aaaa-incus-image"],
        ["-", "container", "d" * 12, "63 MiB", when, "unknown", "?"],
    ]


def test_json_has_what_hosts_are_compared_by() -> None:
    (row,) = rows_of([RUNNER], [stored("a", "pikaci/dev", drv=DRV, alias="pikaci/dev")], {})

    assert row.as_dict() == {
        "alias": "pikaci/dev",
        "role": "runner",
        "instance_type": "container",
        "fingerprint": "a" * 64,
        "size_bytes": 63 * 2**20,
        "architecture": "x86_64",
        "imported_at": "2026-11-21T07:33:53.326057205Z",
        "drv_path": DRV,
        "content": None,
        "last_alias": "pikaci/dev",
        "current": "unknown",
    }
