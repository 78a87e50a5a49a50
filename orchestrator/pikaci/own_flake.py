"""The flake that this pikaci came with, and the URL by which other flakes refer to it."""

from __future__ import annotations

import asyncio
import json
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from jerichoci.snapshot.git import Git
from jerichoci.state.dataclass import dataclass

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]
_COPY = _PACKAGE / "flake"
"""Where a wheel has the library."""


@dataclass(frozen=True)
class FlakeUrl:
    """A URL of pikaci's flake, and whether other machines may know it, too."""

    text: str
    elsewhere: bool = True


def template() -> Path:
    """The directory `nix` of the flake that came with this pikaci: the templates are there."""
    return (_CHECKOUT if _is_flake(_CHECKOUT) else _COPY) / "nix"


def own_url() -> FlakeUrl:
    """Where this pikaci came from: a checkout, what an installer noted, or else its own copy."""
    if _is_flake(_CHECKOUT):
        return directory_url(_CHECKOUT)
    return _noted_url() or FlakeUrl(f"path:{_escaped(_COPY)}", elsewhere=False)


def directory_url(directory: Path) -> FlakeUrl:
    """The URL of a flake on this machine."""
    path = _escaped(directory.resolve())
    if not (directory / ".git").exists():
        return FlakeUrl(f"path:{path}", elsewhere=False)
    done = asyncio.run(Git(cwd=directory).run("rev-parse", "--is-shallow-repository"))
    is_shallow = done.stdout.strip() == b"true"
    return FlakeUrl(f"git+file://{path}{'?shallow=1' if is_shallow else ''}", elsewhere=False)


def _is_flake(directory: Path) -> bool:
    return (directory / "flake.nix").is_file() and (directory / "nix/template").is_dir()


def _escaped(path: Path) -> str:
    return urlsplit(path.as_uri()).path


def _noted_url() -> FlakeUrl | None:
    """By the direct_url.json (PEP 610) of what was installed from a repository or a directory."""
    try:
        noted = json.loads(metadata.distribution("pikaci").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return None
    url = noted.get("url", "")
    if noted.get("vcs_info", {}).get("vcs") == "git":
        return FlakeUrl(f"git+{url}", elsewhere=not url.startswith("file:"))
    if "dir_info" in noted and _is_flake(directory := Path(url2pathname(urlsplit(url).path))):
        return directory_url(directory)
    return None
