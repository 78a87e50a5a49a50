"""What is installed where there is no checkout: a wheel, made as for a release."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

from nix.evaluation import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.project import Project

GUEST_FILES = {
    "pikaci-incus-run": "nix/incus/pikaci-incus-run.py",
    "bootstrap.sh": "nix/tart/bootstrap.sh",
}
SUFFIXES = {"sdist": ".gz", "wheel": ".whl"}
SHOW = "import sys; from jerichoci.runtime.tart.guest import guest_program as of;"


def build(sources: Path, kind: str, directory: Path) -> Path:
    """Build a wheel or a source distribution."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(directory)]
    done = subprocess.run(argv, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = directory.glob(f"pikaci-*{SUFFIXES[kind]}")
    return made


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, made from its source distribution, as an installer unpacks it."""
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(["tar", "xzf", build(ROOT, "sdist", built), "-C", built], check=True)
    (sources,) = built.glob("pikaci-*/")
    wheel = build(sources, "wheel", built)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


@pytest.mark.parametrize("name", GUEST_FILES)
def test_a_wheel_has_what_macos_guests_run(unpacked: Path, name: str) -> None:
    code = f"{SHOW} sys.stdout.buffer.write(of({name!r}, 'nowhere'))"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv, cwd=unpacked, env={"PYTHONPATH": str(unpacked)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / GUEST_FILES[name]).read_bytes()
    assert (unpacked / "jerichoci/runtime/tart/guest_files" / name).is_file()


def test_a_wheel_has_all_that_the_checkout_has(unpacked: Path) -> None:
    ours = {
        path.relative_to(ROOT / "orchestrator")
        for package in ("jerichoci", "pikaci")
        for path in (ROOT / "orchestrator" / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in ours if not (unpacked / path).is_file()} == set()


def test_a_wheel_makes_the_same_debian_guest_as_the_checkout(unpacked: Path) -> None:
    names = {
        subprocess.run(
            ["bash", str(place / "nix/incus/debian-guest.sh"), "--recipe", "--packages", "jq"],
            capture_output=True,
            check=True,
        ).stdout
        for place in (ROOT, unpacked / "pikaci/debian")
    }
    assert len(names) == 1


def test_a_repository_starts_with_the_library_of_a_wheel(fresh: Project, unpacked: Path) -> None:
    installed = fresh.with_env(PYTHONPATH=str(unpacked))
    done = installed.pikaci("init").passed()
    url = f"path:{unpacked}/pikaci/flake"
    assert f'"{url}"' in fresh.path("flake.nix").read_text()
    assert f"{url} is on this machine only" in done.err
    installed.pikaci("run", "check", "--offline").passed()


@pytest.mark.parametrize(
    ("noted", "url"),
    [
        (
            {"url": "https://example.org/pikaci.git", "vcs_info": {"vcs": "git"}},
            "git+https://example.org/pikaci.git",
        ),
        ({"url": "file://@flake@", "dir_info": {}}, "path:@flake@"),
        ({"url": "file://@flake@/gone", "dir_info": {}}, "path:@wheel@/pikaci/flake"),
        ({"url": "file:///a.whl", "archive_info": {}}, "path:@wheel@/pikaci/flake"),
    ],
    ids=["repository", "directory", "directory-gone", "wheel"],
)
def test_pikacis_address_is_where_the_installer_had_it_from(
    fresh: Project, unpacked: Path, pikaci_flake: Path, noted: object, url: str
) -> None:
    def here(text: str) -> str:
        return text.replace("@flake@", str(pikaci_flake)).replace("@wheel@", str(unpacked))

    (note,) = (path / "direct_url.json" for path in unpacked.glob("pikaci-*.dist-info"))
    note.write_text(here(json.dumps(noted)))
    try:
        done = fresh.with_env(PYTHONPATH=str(unpacked)).pikaci("init").passed()
    finally:
        note.unlink()
    assert f'pikaci.url = "{here(url)}";' in fresh.path("flake.nix").read_text()
    assert ("on this machine only" in done.err) is url.startswith("path:")


def manual(unpacked: Path) -> list[Path]:
    return sorted(unpacked.glob("pikaci-*.data/data/share/man/man1/*"))


def commands(context: click.Context) -> Iterator[str]:
    """The command of a context and those below it, as a shell has them."""
    yield context.command_path
    if isinstance(group := context.command, click.Group):
        for name in group.list_commands(context):
            if (command := group.get_command(context, name)) and not command.hidden:
                yield from commands(click.Context(command, parent=context, info_name=name))


def test_a_wheel_has_a_manual_page_of_each_command(unpacked: Path) -> None:
    programs = {"pikaci": "pikaci", "pika-git": "run", "ph": "ph"}
    groups = {
        name: getattr(import_module(f"{name.replace('-', '_')}.cli"), group)
        for name, group in programs.items()
    }
    found = [commands(click.Context(group, info_name=name)) for name, group in groups.items()]
    pages = {f"{line.replace(' ', '-')}.1" for lines in found for line in lines}
    assert {page.name for page in manual(unpacked)} == pages


def test_a_manual_page_has_the_words_of_help(unpacked: Path) -> None:
    (page,) = (page for page in manual(unpacked) if page.name == "pikaci-status.1")
    shown = subprocess.run(
        ["mandoc", "-T", "ascii", page], capture_output=True, text=True, check=True
    ).stdout
    assert "pikaci-status - Show RUN and its jobs" in remove_overstrikes(shown)
    assert "pikaci status [OPTIONS]" in remove_overstrikes(shown)
    assert "--state-root DIR" in remove_overstrikes(shown)


def remove_overstrikes(text: str) -> str:
    """Without the letters that a terminal's bold and underline are made of."""
    return re.sub(".\b", "", text)


def test_manual_pages_are_well_formed(unpacked: Path) -> None:
    argv = ["mandoc", "-T", "lint", "-W", "warning", *map(str, manual(unpacked))]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    assert [line for line in said.splitlines() if "missing date" not in line] == []
