"""The agent as it is brought to hosts: the modules it consists of, in an archive.

The same modules give the same bytes, so a host that has an archive by its digest has the agent.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = (
    "__init__.py",
    "errors.py",
    "exit_codes.py",
    "machine",
    "nix",
    "placement",
    "remote/__init__.py",
    "remote/agent",
    "snapshot",
    "state",
    "status.py",
)
"""What is brought to a host: files, and packages with all that is in them. Nothing of it needs more
than the standard library, nor imports what is not in it."""

SUFFIXES = (".py", ".sh")

START = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))"
"""Runs its first argument, and leaves the others to it."""


@dataclass(frozen=True)
class Bundle:
    """An archive and the hex digest it is known by."""

    data: bytes
    digest: str


@cache
def bundle() -> Bundle:
    """The agent of this version."""
    home = Path(__file__).parents[2]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in _names(home):
            data = (home / name).read_bytes()
            member = tarfile.TarInfo(f"{home.name}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    return Bundle(data, hashlib.sha256(data).hexdigest())


def _names(home: Path) -> list[str]:
    """The files, by their paths below the package."""
    found: list[str] = []
    for part in PARTS:
        if (home / part).is_file():
            found.append(part)
        else:
            files = [path for path in (home / part).rglob("*.*") if path.suffix in SUFFIXES]
            found += [path.relative_to(home).as_posix() for path in files]
    return sorted(found)


def boot_argv(told: Mapping[str, Any]) -> list[str]:
    """What has the agent on a host and hands over to it.

    There is nothing in it that shells would read in different ways.
    """
    return ["python3", "-I", "-c", START, _boot(), _packed(json.dumps(told))]


@cache
def _boot() -> str:
    return _packed((Path(__file__).parent / "boot.py").read_text())


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()
