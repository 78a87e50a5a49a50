"""`pikaci image` as a person uses it, with a real Nix and a real Incus."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes
from guest_images import METADATA, write_image
from jerichoci.machine.system import own_system
from jerichoci.runtime.incus.client import Incus
from jerichoci.runtime.incus.image import DRV_PROPERTY
from jerichoci.runtime.incus.image_files import VIRTUAL_MACHINE
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from incus.server import IncusServer

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
def incus(incus_server: IncusServer) -> Iterator[Incus]:
    """A project without images, which goes with the test."""
    name = f"images-{secrets.token_hex(3)}"
    incus_server.incus("project", "create", name, "--config=features.images=true")
    project = Incus(incus_server.socket, name)
    yield project
    for found in project.images():
        project.delete_image(found.fingerprint)
    incus_server.incus("project", "delete", name)


@pytest.fixture
def images(incus_server: IncusServer, incus: Incus, tmp_path: Path) -> Project:
    """A flake with images, for that project."""
    for name in ("repo", "home", "config/pikaci"):
        (tmp_path / name).mkdir(parents=True)
    project = Project(
        tree=UserTree(tmp_path / "repo"),
        state=tmp_path / "state",
        token=secrets.token_hex(8),
        system=own_system(),
        environment={
            **IDENTITY,
            **incus_server.environment,
            "HOME": str(tmp_path / "home"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "LC_ALL": "C.UTF-8",
        },
    )
    use_project(project, incus.project)
    project.define("")
    text = FLAKE.replace("@token@", project.token).replace("@path@", os.environ["PATH"])
    project.write("flake.nix", text.replace("@system@", project.system))
    write_image(project.root / "image")
    return project


def use_project(project: Project, name: str) -> None:
    hosts = Path(project.environment["XDG_CONFIG_HOME"], "pikaci/hosts.toml")
    hosts.write_text(f'[local.incus]\nproject = "{name}"\n')


def roots(project: Project) -> set[str]:
    return {str(link.readlink()) for link in project.state.glob("images/*/*")}


def current(project: Project, *flags: str) -> str | None:
    rows = project.pikaci("image", "list", "--json", *flags).passed().json
    return next((row["current"] for row in rows if row["role"] == "made"), None)


def test_an_image_is_built_and_kept(images: Project) -> None:
    done = images.pikaci("image", "build", "made").passed()

    directory = Path(done.out.strip())
    assert {path.name for path in directory.iterdir()} == {"metadata.tar.xz", "rootfs.squashfs"}
    assert "building image made" in done.err
    assert roots(images) == {str(directory)}
    again = images.pikaci("image", "build", "made", "--json", "--output", "out").passed()
    assert again.json["directory"] == again.json["out_path"] == str(directory)
    assert again.json["drv_path"].endswith("-image.drv")
    assert "building" not in again.err
    assert (images.root / "out").readlink() == directory


def test_only_the_newest_image_of_a_role_is_kept(images: Project) -> None:
    images.pikaci("image", "build", "made").passed()
    write_image(images.root / "image", "newer")

    newer = images.pikaci("image", "build", "made").passed().out.strip()

    assert roots(images) == {newer}


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


def test_a_broken_build_is_the_users(images: Project) -> None:
    for verb in ("build", "import"):
        done = images.pikaci("image", verb, "broken")

        assert done.code == 1
        *said, sentence = done.err.splitlines()
        assert said[-3:-1] == ["  broken> one", "  broken> two"]
        assert said[-1].endswith("exit code 3")
        assert sentence.startswith("pikaci: image broken does not build")


def test_a_builder_speaks_if_asked(images: Project) -> None:
    done = images.pikaci("image", "build", "broken", "--print-logs")

    assert done.err.count("broken> one") == 1


def test_a_package_that_is_no_image_is_said(images: Project) -> None:
    images.pikaci("image", "build", "empty")
    sentence = images.pikaci("image", "build", "empty").refused()

    assert "the package of image empty is no image" in sentence
    assert "has no rootfs.squashfs or disk.qcow2" in sentence


def test_an_image_without_a_package_comes_from_a_directory(images: Project, incus: Incus) -> None:
    for verb in ("build", "import"):
        sentence = images.pikaci("image", verb, "handmade").refused()
        assert "`pikaci image import handmade --from DIR`" in sentence

    done = images.pikaci("image", "import", "handmade", "--from", "image").passed()

    found = incus.image("pikaci/handmade")
    assert found is not None
    assert found.fingerprint == done.out.strip()


def test_files_may_be_named_one_by_one(images: Project, incus: Incus) -> None:
    files = ("--metadata", "image/metadata.tar.xz", "--rootfs", "image/rootfs.squashfs")

    images.pikaci("image", "import", "handmade", *files, "--alias", "my/own").passed()

    assert incus.image("my/own")
    assert incus.image("pikaci/handmade") is None


@pytest.mark.parametrize("role", [(), ("anything",)])
def test_outside_a_flake_an_alias_will_do(
    images: Project, incus: Incus, tmp_path: Path, role: tuple[str, ...]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    outside = images.at(tmp_path / "elsewhere")
    env = outside.env() | {"XDG_STATE_HOME": str(tmp_path / "home")}
    del env["PIKACI_STATE_ROOT"]
    directory = str(images.root / "image")

    done = subprocess.run(
        outside.argv("image", "import", *role, "--alias", "pikaci/dev", "--from", directory),
        cwd=tmp_path / "elsewhere",
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )

    (found,) = incus.images()
    assert (found.aliases, found.fingerprint) == (("pikaci/dev",), done.stdout.strip())
    assert list((tmp_path / "home/pikaci").iterdir()) == []
    rows = outside.pikaci("image", "list", "--json").passed().json
    assert [row["alias"] for row in rows] == ["pikaci/dev"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("import", "no role is named; `pikaci image list` lists them"),
        ("import --alias a", "no role is named"),
        ("import --from image", "no role is named"),
        ("import mad", "there is no image 'mad'; did you mean `made`"),
        ("build Made", "'Made' is not a role id"),
        ("build made --system riscv64-linux", "image made is not for riscv64-linux"),
        ("import made --from none", "none is not a directory"),
        ("import made --from home", "home has no rootfs.squashfs or disk.qcow2"),
        ("import made --metadata image/metadata.tar.xz", "belong together"),
        ("import made --from image --metadata a --rootfs b", "are two places"),
        ("import made --alias a:b", "'a:b' is not an alias"),
        ("import machine --from image", "a virtual-machine is asked for"),
        ("import machine --metadata a --rootfs b", "a can't be read: No such file"),
        ("list --flake home", "there is no flake.nix"),
        ("frob", "No such command 'frob'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    images: Project, incus: Incus, arguments: str, said: str
) -> None:
    (images.root / "home").mkdir()

    assert said in images.pikaci("image", *arguments.split()).refused()
    assert incus.images() == []


def test_a_missing_project_is_said_before_anything_is_built(images: Project) -> None:
    use_project(images, "nowhere")

    for arguments in (["list"], ["import", "made"], ["import", "handmade", "--from", "image"]):
        sentence = images.pikaci("image", *arguments).refused()
        assert sentence.startswith("pikaci: Incus has no project nowhere; `incus project create")


def test_an_incus_that_is_not_there_is_said(images: Project, tmp_path: Path) -> None:
    nowhere = images.with_env(INCUS_SOCKET=str(tmp_path / "none"))

    for arguments in (["list"], ["import", "made"], ["import", "handmade", "--from", "image"]):
        sentence = nowhere.pikaci("image", *arguments).refused(75)
        assert f"Incus can't be reached at {tmp_path}/none: No such file" in sentence


def test_two_processes_import_one_image(images: Project, incus: Incus) -> None:
    write_image(images.root / "image", "x" * 20_000_000)
    images.pikaci("image", "build", "made").passed()

    started = [images.start("image", "import", "made") for _ in range(3)]
    done = [finish(process).passed() for process in started]

    assert len({one.out for one in done}) == 1
    assert sum("sending" in one.err for one in done) == 1
    assert len(incus.images()) == 1


def test_an_image_may_be_imported_from_two_state_roots(images: Project, incus: Incus) -> None:
    write_image(images.root / "image", "x" * 20_000_000)
    images.pikaci("image", "build", "made").passed()

    started = [
        images.start("image", "import", "made", "--state-root", f"{images.state}-{number}")
        for number in range(3)
    ]
    done = [finish(process).passed() for process in started]

    assert len({one.out for one in done}) == 1
    assert len(incus.images()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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
    wait_for(lambda: any(path.stat().st_size > 2**24 for path in store.glob("incus_build_*/*")))

    process.send_signal(number)
    done = finish(process, 10)

    assert done.code == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    wait_for(lambda: {path.name for path in store.iterdir()} == before)
    assert incus.images() == []
    assert incus.image("pikaci/large") is None


def wait_for(look: Callable[[], object], deadline_secs: float = 60) -> None:
    end = time.monotonic() + deadline_secs
    while True:
        try:
            if look():
                return
        except FileNotFoundError:  # gone since it was listed
            pass
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_role_is_completed(images: Project) -> None:
    completion = {"_PIKACI_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    asked = images.with_env(**completion, COMP_WORDS="pikaci image build ma")

    said = asked.pikaci().out

    assert said.split() == ["plain,machine", "plain,made"]


def test_nix_knows_that_a_built_image_is_kept(images: Project) -> None:
    directory = images.pikaci("image", "build", "made").passed().out.strip()

    argv = ["nix-store", "--query", "--roots", directory]
    kept_by = subprocess.run(argv, capture_output=True, check=True, text=True).stdout
    assert f"{images.state}/images/made/" in kept_by


def test_an_interrupted_build_ends_with_its_builder(images: Project) -> None:
    text = (images.root / "flake.nix").read_text()
    images.write("flake.nix", text.replace("echo one;", f"echo one; sleep 600.{SERIAL};"))
    process = images.start("image", "build", "broken")
    wait_for(lambda: processes(f"600.{SERIAL}"))

    process.send_signal(signal.SIGINT)

    assert finish(process, 30).code == 130
    wait_for(lambda: not processes(f"600.{SERIAL}"))
