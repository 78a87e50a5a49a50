"""`pikaci image` as a person uses it, with a real Nix and a real Incus."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for
from guest_images import METADATA, write_image
from incus.guest_project import make_project, use_site
from jerichoci.runtime.incus.image import DRV_PROPERTY
from jerichoci.runtime.incus.image_files import VIRTUAL_MACHINE

if TYPE_CHECKING:
    from incus.server import IncusServer
    from jerichoci.runtime.incus.client import Incus

# `made` is a copy of files in the tree.
FLAKE = """
{
  outputs = _: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      targets = _: { };
      images = let
        image = script: {
          instanceType = "container";
          alias = "pikaci/made";
          package = system: derivation {
            name = "image";
            inherit system script;
            builder = "/bin/sh";
            args = [ "-c" script ];
            token = "@token@";
            PATH = "@path@";
          };
        };
      in {
        made = image "echo copying; mkdir $out; cp ${./image}/* $out";
        broken = image "echo one; echo two; exit 3" // { alias = "pikaci/broken"; };
        empty = image "mkdir $out" // { alias = "pikaci/empty"; };
        handmade = { alias = "pikaci/handmade"; instanceType = "container"; };
        machine.alias = "pikaci/machine";
      };
    };
  };
}
"""
LARGE_BYTES = 2**30
SERIAL = secrets.randbelow(10**8)


@pytest.fixture
def images(incus_server: IncusServer, incus: Incus, tmp_path: Path) -> Project:
    """A flake with images, for that project."""
    flake = FLAKE.replace("@path@", os.environ["PATH"])
    project = make_project(tmp_path, incus_server, "", flake)
    use_site(project, project=incus.project)
    write_image(project.root / "image")
    return project


def roots(project: Project) -> set[str]:
    return {str(link.readlink()) for link in project.state.glob("images/*/*")}


def current(project: Project, *flags: str) -> str | None:
    rows = project.here("image", "list", "--json", *flags).passed().json
    return next((row["current"] for row in rows if row["role"] == "made"), None)


def test_an_image_is_built_once_and_the_newest_of_a_role_is_kept(images: Project) -> None:
    done = images.pikaci("image", "build", "made").passed()

    directory = Path(done.out.strip())
    assert {path.name for path in directory.iterdir()} == {"metadata.tar.xz", "rootfs.squashfs"}
    assert "building image made" in done.err
    assert roots(images) == {str(directory)}
    argv = ["nix-store", "--query", "--roots", str(directory)]
    assert f"{images.state}/images/made/" in subprocess.check_output(argv, text=True)
    again = images.pikaci("image", "build", "made", "--json", "--output", "out").passed()
    assert again.json["directory"] == again.json["out_path"] == str(directory)
    assert again.json["drv_path"].endswith("-image.drv")
    assert "building" not in again.err
    assert (images.root / "out").readlink() == directory
    (images.root / "out").unlink()
    write_image(images.root / "image", "newer")

    newer = images.pikaci("image", "build", "made").passed().out.strip()

    assert roots(images) == {newer} != {str(directory)}


def test_an_image_is_built_and_imported_in_one(images: Project, incus: Incus) -> None:
    done = images.pikaci("image", "import", "made").passed()

    (found,) = incus.images()
    assert done.out.strip() == found.fingerprint
    assert found.aliases == ("pikaci/made",)
    assert found.properties[DRV_PROPERTY].endswith("-image.drv")
    assert "building image made" in done.err
    assert f"sending 0 MiB to project {incus.project}" in done.err
    again = images.pikaci("image", "import", "made").passed()
    assert again.out == done.out
    assert len(again.err.splitlines()) == 1
    assert "which Incus had already" in again.err


def test_a_list_tells_whether_an_image_is_current(images: Project, incus: Incus) -> None:
    assert current(images, "--check") == "no"
    first = images.pikaci("image", "import", "made").passed().out.strip()
    assert current(images) == "unknown"
    assert current(images, "--check") == "yes"
    write_image(images.root / "image", "newer")
    assert current(images, "--check") == "no"

    done = images.pikaci("image", "import", "made", "--prune").passed()

    assert current(images, "--check") == "yes"
    assert f"no longer {first[:12]}" in done.err
    assert f"removed image {first[:12]}" in done.err
    assert [found.fingerprint for found in incus.images()] == [done.out.strip()]


def test_a_list_goes_on_where_one_image_cannot_be_evaluated(images: Project) -> None:
    text = (images.root / "flake.nix").read_text()
    images.write("flake.nix", text.replace('image "mkdir $out"', 'image (throw "no such thing")'))

    done = images.pikaci("image", "list", "--check")

    assert done.code == 0
    assert "image empty: the flake does not evaluate" in done.err
    assert "no such thing" in done.err
    assert len(done.out.splitlines()) == 6


def test_what_incus_has_needs_no_build(images: Project, incus: Incus) -> None:
    by_hand = images.pikaci("image", "import", "--alias", "other", "--from", "image").passed()
    drv_path = drv_of(images, "broken")
    incus.set_properties(by_hand.out.strip(), {DRV_PROPERTY: drv_path})

    done = images.pikaci("image", "import", "broken").passed()

    assert done.out == by_hand.out
    assert "building" not in done.err


def drv_of(project: Project, role: str) -> str:
    asked = f"path:{project.root}#.pikaci.{project.system}.images.{role}.drv_path"
    argv = ["nix", "--extra-experimental-features", "nix-command flakes", "eval", "--raw", asked]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


def test_a_broken_build_is_the_users_and_its_builder_speaks_if_asked(images: Project) -> None:
    for verb in ("build", "import"):
        done = images.pikaci("image", verb, "broken")

        assert done.code == 1
        *said, sentence = done.err.splitlines()
        assert said[-3:-1] == ["  broken> one", "  broken> two"]
        assert said[-1].endswith("exit code 3")
        assert sentence.startswith("pikaci: image broken does not build")
    done = images.pikaci("image", "build", "broken", "--print-logs")
    assert done.err.count("broken> one") == 1


def test_a_package_that_is_no_image_is_said(images: Project) -> None:
    done = images.pikaci("image", "build", "empty")

    assert done.code == 2
    assert "the package of image empty is no image" in done.err
    assert "has no rootfs.squashfs or disk.qcow2" in done.err


def test_an_image_without_a_package_comes_from_files(images: Project, incus: Incus) -> None:
    for verb in ("build", "import"):
        sentence = images.pikaci("image", verb, "handmade").refused()
        assert "`pikaci image import handmade --from DIR`" in sentence
    files = ("--metadata", "image/metadata.tar.xz", "--rootfs", "image/rootfs.squashfs")

    images.pikaci("image", "import", "handmade", *files, "--alias", "my/own").passed()
    done = images.pikaci("image", "import", "handmade", "--from", "image").passed()

    (found,) = incus.images()
    assert set(found.aliases) == {"pikaci/handmade", "my/own"}
    assert found.fingerprint == done.out.strip()


def test_outside_a_flake_an_alias_will_do(images: Project, incus: Incus, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    outside = images.at(tmp_path / "elsewhere")
    env = outside.env() | {"XDG_STATE_HOME": str(tmp_path / "home")}
    del env["PIKACI_STATE_ROOT"]

    for role, alias in (((), "pikaci/dev"), (("anything",), "pikaci/other")):
        files = ("--alias", alias, "--from", str(images.root / "image"))
        argv = outside.argv("image", "import", *role, *files)
        printed = subprocess.check_output(argv, cwd=tmp_path / "elsewhere", env=env, text=True)
        found = incus.image(alias)
        assert found
        assert found.fingerprint == printed.strip()

    assert list((tmp_path / "home/pikaci").iterdir()) == []
    rows = outside.pikaci("image", "list", "--json").passed().json
    assert {row["alias"] for row in rows} == {"pikaci/dev", "pikaci/other"}


def test_what_makes_no_sense_is_refused(images: Project, incus: Incus) -> None:
    (images.root / "home").mkdir()
    refusals = {
        "import": "no role is named; `pikaci image list` lists them",
        "import --alias a": "no role is named",
        "import --from image": "no role is named",
        "import mad": "there is no image 'mad'; did you mean `made`",
        "build Made": "'Made' is not a role id",
        "build made --system riscv64-linux": "image made is not for riscv64-linux",
        "import made --from none": "none is not a directory",
        "import made --from home": "home has no rootfs.squashfs or disk.qcow2",
        "import made --metadata image/metadata.tar.xz": "belong together",
        "import made --from image --metadata a --rootfs b": "are two places",
        "import made --alias a:b": "'a:b' is not an alias",
        "import machine --from image": "a virtual-machine is asked for",
        "import machine --metadata a --rootfs b": "a can't be read: No such file",
        "list --flake home": "there is no flake.nix",
        "frob": "No such command 'frob'",
    }
    for arguments, said in refusals.items():
        assert said in images.here("image", *arguments.split()).refused(), arguments
    assert incus.images() == []


def test_a_missing_project_or_incus_is_said_before_anything_is_built(
    images: Project, tmp_path: Path
) -> None:
    use_site(images, project="nowhere")
    nowhere = images.with_env(INCUS_SOCKET=str(tmp_path / "none"))

    for arguments in (["list"], ["import", "made"], ["import", "handmade", "--from", "image"]):
        sentence = images.here("image", *arguments).refused()
        assert sentence.startswith("pikaci: Incus has no project nowhere; `incus project create")
        sentence = nowhere.here("image", *arguments).refused(75)
        assert f"Incus can't be reached at {tmp_path}/none: No such file" in sentence


def test_two_processes_import_one_image(images: Project, incus: Incus) -> None:
    write_image(images.root / "image", "x" * 5_000_000)
    images.pikaci("image", "build", "made").passed()

    started = [images.start("image", "import", "made") for _ in range(3)]
    done = [finish(process).passed() for process in started]

    assert len({one.out for one in done}) == 1
    assert sum("sending" in one.err for one in done) == 1
    assert len(incus.images()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_leaves_nothing(
    images: Project, incus: Incus, incus_server: IncusServer, number: signal.Signals
) -> None:
    directory = write_image(images.root / "large", kind=VIRTUAL_MACHINE, metadata=METADATA)
    with (directory / "disk.qcow2").open("r+b") as disk:
        disk.truncate(LARGE_BYTES)
    images.write(".gitignore", "large\n")
    store = incus_server.directory / "images"
    before = {path.name for path in store.iterdir()}
    process = images.start("image", "import", "--alias", "pikaci/large", "--from", "large")
    wait_for(lambda: is_sending(store))

    process.send_signal(number)
    done = finish(process, 10)

    assert done.code == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    wait_for(lambda: {path.name for path in store.iterdir()} == before)
    assert incus.images() == []
    assert incus.image("pikaci/large") is None


def is_sending(store: Path) -> bool:
    with suppress(FileNotFoundError):  # gone since it was listed
        return any(path.stat().st_size > 2**24 for path in store.glob("incus_build_*/*"))
    return False


def test_a_role_is_completed(images: Project) -> None:
    completion = {"_PIKACI_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    asked = images.with_env(**completion, COMP_WORDS="pikaci image build ma")

    said = asked.pikaci().out

    assert said.split() == ["plain,machine", "plain,made"]


def test_an_interrupted_build_ends_with_its_builder(images: Project) -> None:
    text = (images.root / "flake.nix").read_text()
    images.write("flake.nix", text.replace("echo one;", f"echo one; sleep 600.{SERIAL};"))
    process = images.start("image", "build", "broken")
    wait_for(lambda: processes(f"600.{SERIAL}"))

    process.send_signal(signal.SIGINT)

    assert finish(process, 30).code == 130
    wait_for(lambda: not processes(f"600.{SERIAL}"))
