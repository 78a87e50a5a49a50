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
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULES = (
    "__init__.py",
    "agent/__init__.py",
    "agent/attach.py",
    "agent/collector.py",
    "agent/fault.py",
    "agent/following.py",
    "agent/frame.py",
    "agent/gathering.py",
    "agent/operation.py",
    "agent/server.py",
    "agent/service.py",
    "agent/survey.py",
    "artifacts.py",
    "atomic.py",
    "clock.py",
    "confinement.py",
    "descent.py",
    "ending.py",
    "environment.py",
    "errors.py",
    "git.py",
    "gueststore.py",
    "guestviews.py",
    "idmap.py",
    "ids.py",
    "layout.py",
    "lines.py",
    "lock.py",
    "log.py",
    "materialise.py",
    "memory.py",
    "nix.py",
    "nixbuilds.py",
    "nixlog.py",
    "nixsettings.py",
    "nixverdict.py",
    "outbox.py",
    "owner.py",
    "payload_files.py",
    "placement/__init__.py",
    "placement/local.py",
    "process.py",
    "pump.py",
    "reading.py",
    "realise.py",
    "realised.py",
    "removal.py",
    "repository.py",
    "runtime/host_init.sh",
    "signals.py",
    "slots.py",
    "status.py",
    "stop.py",
    "system.py",
    "workspace.py",
)
"""All that the agent imports, and nothing that needs more than the standard library."""


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
    home = Path(__file__).parent.parent
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MODULES:
            data = (home / name).read_bytes()
            member = tarfile.TarInfo(f"{home.name}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    return Bundle(data, hashlib.sha256(data).hexdigest())


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
