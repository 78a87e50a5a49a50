"""Images in a real Incus: imported once, aliased without a gap, nothing left of what failed."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from guest_images import image, write_image
from jerichoci.errors import UsageError
from jerichoci.runtime.incus.api import IncusError, MissingError
from jerichoci.runtime.incus.client import Incus
from jerichoci.runtime.incus.image import (
    CONTENT_PROPERTY,
    DRV_PROPERTY,
    Imported,
    check_alias,
    import_image,
    prune_images,
    take_image,
)
from jerichoci.runtime.incus.image_files import VIRTUAL_MACHINE, ImageFiles, files_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from incus.server import IncusServer

ALIAS = "pikaci/some"
DRV, OTHER_DRV = "/nix/store/aaaa-image.drv", "/nix/store/bbbb-image.drv"


def named(incus: Incus, alias: str = ALIAS) -> str | None:
    found = incus.image(alias)
    return found.fingerprint if found else None


def fingerprints(incus: Incus) -> set[str]:
    return {found.fingerprint for found in incus.images()}


def test_an_image_is_sent_once_and_known_by_alias_and_content(incus: Incus, tmp_path: Path) -> None:
    files = image(tmp_path)
    sent: list[str] = []

    first = import_image(incus, files, ALIAS, sending=lambda: sent.append("first"))
    again = import_image(incus, files, ALIAS, sending=lambda: sent.append("again"))

    assert first == Imported(files.fingerprint(), ALIAS, was_sent=True, replaced=None)
    assert again == replace(first, was_sent=False)
    assert sent == ["first"]
    (found,) = incus.images()
    assert found.aliases == (ALIAS,)
    assert found.properties[CONTENT_PROPERTY] == found.fingerprint == files.fingerprint()
    assert not found.is_vm


def test_an_image_of_a_derivation_is_known_by_it(incus: Incus, tmp_path: Path) -> None:
    done = import_image(incus, image(tmp_path), ALIAS, DRV)

    (found,) = incus.images()
    assert found.properties[DRV_PROPERTY] == DRV
    assert CONTENT_PROPERTY not in found.properties
    more = Imported(done.fingerprint, "pikaci/more", was_sent=False, replaced=None)
    assert take_image(incus, "pikaci/more", DRV) == more
    assert take_image(incus, ALIAS, OTHER_DRV) is None
    assert named(incus) == named(incus, "pikaci/more") == done.fingerprint
    # The same bytes may be of another derivation.
    assert not import_image(incus, image(tmp_path), ALIAS, OTHER_DRV).was_sent
    assert incus.images()[0].properties[DRV_PROPERTY] == OTHER_DRV


def test_a_virtual_machine_is_imported_as_one(incus: Incus, tmp_path: Path) -> None:
    import_image(incus, files_in(write_image(tmp_path, kind=VIRTUAL_MACHINE)), ALIAS)

    (found,) = incus.images()
    assert found.is_vm


def test_an_image_imported_by_hand_is_taken(
    incus: Incus, incus_server: IncusServer, tmp_path: Path
) -> None:
    files = image(tmp_path)
    by_hand(incus_server, incus, files)

    done = import_image(incus, files, ALIAS)

    assert (done.was_sent, named(incus)) == (False, files.fingerprint())


def test_there_is_no_moment_without_the_alias(incus: Incus, tmp_path: Path) -> None:
    files = [image(tmp_path / str(number), str(number)) for number in range(2)]
    old = import_image(incus, files[0], ALIAS)
    assert import_image(incus, files[1], ALIAS).replaced == old.fingerprint
    seen: list[str | None] = []
    done = threading.Event()

    def look() -> None:
        mine = Incus(incus._rest.socket, incus.project)
        while not done.is_set():
            seen.append(named(mine))

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look)
        for number in range(8):
            import_image(incus, files[number % 2], ALIAS)
        done.set()
        looking.result()

    assert None not in seen
    # The image that has lost the alias is kept.
    assert set(seen) == fingerprints(incus) == {one.fingerprint() for one in files}


def test_pruning_removes_what_had_the_alias(
    incus: Incus, incus_server: IncusServer, tmp_path: Path
) -> None:
    by_hand(incus_server, incus, image(tmp_path / "hand", "hand"))
    other = import_image(incus, image(tmp_path / "other", "other"), "pikaci/other")
    import_image(incus, image(tmp_path / "other2", "other2"), "pikaci/other")
    both = import_image(incus, image(tmp_path / "both", "both"), ALIAS)
    import_image(incus, image(tmp_path / "both", "both"), "pikaci/both")
    # As the NixOS module imports one.
    files = image(tmp_path / "module", "module")
    module = incus.import_image(files.metadata, files.rootfs, is_vm=False)
    incus.set_properties(module, {DRV_PROPERTY: DRV})
    incus.point_alias(ALIAS, module)
    old = import_image(incus, image(tmp_path / "old", "old"), ALIAS, DRV)
    new = import_image(incus, image(tmp_path / "new", "new"), ALIAS, OTHER_DRV)
    before = fingerprints(incus)

    gone = {module, old.fingerprint}
    assert {image.fingerprint for image in prune_images(incus, ALIAS)} == gone

    assert before - fingerprints(incus) == gone
    assert {other.fingerprint, both.fingerprint, new.fingerprint} < fingerprints(incus)
    assert prune_images(incus, ALIAS) == []


def test_an_instance_outlives_its_image(incus_server: IncusServer, tmp_path: Path) -> None:
    incus = Incus(incus_server.socket, incus_server.project)
    alias = "pikaci/pruned"
    write_image(tmp_path / "guest")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("here\n")
    rootfs = tmp_path / "guest" / "rootfs.squashfs"
    argv = ["mksquashfs", str(tmp_path / "root"), str(rootfs), "-noappend", "-quiet"]
    subprocess.run(argv, check=True, capture_output=True)
    old = import_image(incus, files_in(tmp_path / "guest"), alias)
    incus_server.incus("init", "--quiet", alias, "older")

    new = import_image(incus, image(tmp_path / "new", "new"), alias)
    (removed,) = prune_images(incus, alias)

    assert removed.fingerprint == old.fingerprint
    assert incus_server.incus("file", "pull", "older/file", "-") == "here\n"
    incus.delete_image(new.fingerprint)


def test_two_may_import_one_image_at_once(incus: Incus, tmp_path: Path) -> None:
    files = image(tmp_path, "x" * 5_000_000)

    done = at_once(incus, dict.fromkeys(("pikaci/a", "pikaci/b", "pikaci/c"), files))

    assert {one.fingerprint for one in done} == {files.fingerprint()}
    assert fingerprints(incus) == {files.fingerprint()}
    assert sum(one.was_sent for one in done) == 1
    assert len(incus.images()[0].aliases) == 3


def test_two_may_want_one_alias_at_once(incus: Incus, tmp_path: Path) -> None:
    files = {str(number): image(tmp_path / str(number), str(number)) for number in range(4)}

    done = at_once(incus, files, alias=ALIAS)

    assert fingerprints(incus) == {one.fingerprint for one in done}
    assert named(incus) in fingerprints(incus)


def test_an_image_that_is_removed_meanwhile_is_sent_again(
    incus: Incus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = iter([True])
    label = incus.set_properties

    def remove_once(fingerprint: str, properties: Mapping[str, str]) -> None:
        if next(removals, False):
            incus.delete_image(fingerprint)
        label(fingerprint, properties)

    monkeypatch.setattr(incus, "set_properties", remove_once)

    done = import_image(incus, image(tmp_path), ALIAS)

    assert named(incus) == done.fingerprint


def test_an_image_that_is_removed_each_time_is_said(
    incus: Incus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incus, "point_alias", lambda _alias, found: incus.delete_image(found))
    monkeypatch.setattr(incus, "set_properties", missing)

    with pytest.raises(IncusError, match="was removed each time"):
        import_image(incus, image(tmp_path), ALIAS)


def missing(*_arguments: object) -> None:
    raise MissingError("gone")


def test_an_alias_of_no_image_is_refused(incus: Incus, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        incus.point_alias(ALIAS, "0" * 64)
    done = import_image(incus, image(tmp_path), ALIAS)
    with pytest.raises(MissingError):
        incus.point_alias(ALIAS, "0" * 64)
    assert named(incus) == done.fingerprint


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("architecture: zork\ncreation_date: 1\n", "Architecture isn't supported: zork"),
        ("architecture: [", "did not find expected node content"),
    ],
)
def test_what_incus_refuses_is_said_in_its_words(
    incus: Incus, tmp_path: Path, metadata: str, said: str
) -> None:
    old = import_image(incus, image(tmp_path / "old", "old"), ALIAS)

    with pytest.raises(IncusError, match="Incus doesn't take the image") as refusal:
        import_image(incus, files_in(write_image(tmp_path / "new", metadata=metadata)), ALIAS)

    assert said in refusal.value.message
    assert fingerprints(incus) == {old.fingerprint}
    assert named(incus) == old.fingerprint


def by_hand(server: IncusServer, incus: Incus, files: ImageFiles) -> None:
    paths = (str(files.metadata), str(files.rootfs))
    server.incus("image", "import", "--quiet", f"--project={incus.project}", *paths)


def at_once(
    incus: Incus, wanted: dict[str, ImageFiles], alias: str | None = None
) -> list[Imported]:
    """Import images at once, each over a connection of its own; by alias."""

    def one(name: str) -> Imported:
        mine = Incus(incus._rest.socket, incus.project)
        return import_image(mine, wanted[name], alias or name)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, wanted))


def test_an_alias_is_spelled_as_in_catalogs() -> None:
    for text in ("pikaci/dev", "a", "A.b_c-1/x"):
        assert check_alias(text) == text
    for text in ("", "/a", "a b", "a:b", "ä", "a\n", "-a"):
        with pytest.raises(UsageError, match="is not an alias"):
            check_alias(text)
