"""The pages on Python, Node, Go and C, with the tests of a real project each."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import REPOSITORY
from incus.guest_project import make_project
from incus.server import debian_guest
from incus.test_debian_image import PACKAGES

if TYPE_CHECKING:
    from incus.server import IncusServer

FETCH_SECS = 300
CLICK = "click==8.1.7"
CLICK_SHA256 = "ca9853ad459e787e2192211578cc907e7594e294c7ccc834310722b41b9ca6de"
COLORS = "color-name@1.1.3"
COLORS_SHA256 = "b0ef3371fb2563cbeb6379f1639dc2a8c0a895d1d48ac72c7ad43c5ff409784e"
MODULE = "github.com/kballard/go-shellquote"
MAKEFILE = """
check: example
\t./example
example: example.c
\t$(CC) -o $@ $< -lz
"""


def fetched(directory: Path, *argv: str) -> Path:
    """The one file that a command leaves in a directory."""
    directory.mkdir()
    subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=FETCH_SECS)
    (found,) = directory.iterdir()
    return found


def unpack(archive: Path, digest: str, into: Path) -> None:
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    with tarfile.open(archive) as opened:
        opened.extractall(into.with_name("unpacked"), filter="data")
    (top,) = into.with_name("unpacked").iterdir()
    shutil.copytree(top, into, dirs_exist_ok=True)


def from_debian(package: str, directory: Path) -> Path:
    """The files of a Debian package."""
    archive = fetched(directory / "deb", "apt-get", "download", package)
    subprocess.run(["dpkg-deb", "-x", archive, directory / "files"], check=True)
    return directory / "files"


def python(directory: Path, root: Path) -> None:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
    unpack(fetched(directory / "pip", *pip, "--no-build-isolation", CLICK), CLICK_SHA256, root)


def node(directory: Path, root: Path) -> None:
    unpack(fetched(directory / "npm", "npm", "pack", "--silent", COLORS), COLORS_SHA256, root)


def go(directory: Path, root: Path) -> None:
    files = from_debian("golang-github-kballard-go-shellquote-dev", directory)
    shutil.copytree(files / "usr/share/gocode/src" / MODULE, root, dirs_exist_ok=True)
    (root / "go.mod").write_text(f"module {MODULE}\n")


def c(directory: Path, root: Path) -> None:
    examples = from_debian("zlib1g-dev", directory) / "usr/share/doc/zlib1g-dev/examples"
    plain = examples / "example.c"
    data = (
        plain.read_bytes()
        if plain.exists()
        else gzip.decompress((examples / "example.c.gz").read_bytes())
    )
    (root / "example.c").write_bytes(data)
    (root / "Makefile").write_text(MAKEFILE)


@pytest.mark.parametrize("language", [python, node, go, c], ids=lambda each: str(each.__name__))
def test_a_page_works_with_a_real_project(
    incus_server: IncusServer, tmp_path: Path, language: object
) -> None:
    name = language.__name__  # type: ignore[attr-defined]
    (text,) = re.findall(
        r"```nix\n(\{.*?)```", (REPOSITORY / f"docs/{name}.md").read_text(), re.DOTALL
    )
    # The library is here, and one image has what all pages need.
    flake = text.replace('  inputs.pikaci.url = "github:owner/pikaci";\n', "")
    flake = flake.replace("{ pikaci, ... }:", "_: let pikaci.lib = import ./pikaci-lib; in")
    packages = " ".join(f'"{package}"' for package in PACKAGES)
    flake = re.sub(r"(debian\.packages = \[).*?\]", rf"\1 {packages} ]", flake)
    debian_guest(" ".join(PACKAGES))
    (tmp_path / "made").mkdir()
    project = make_project(tmp_path / "made", incus_server, "", flake)
    language(tmp_path, project.root)  # type: ignore[operator]
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    project = project.with_env(XDG_CACHE_HOME=cache)
    project.pikaci("image", "import", name).passed()
    record = project.run("test")
    assert {job["id"]: job["status"] for job in record["jobs"]} == {
        "host": "passed",
        "guest": "passed",
    }
