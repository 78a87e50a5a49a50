"""The agent as it is brought to hosts: the modules it consists of, in an archive.

The same modules give the same bytes, so a host that has an archive by its digest has the agent.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    "artifacts.py",
    "atomic.py",
    "clock.py",
    "confinement.py",
    "environment.py",
    "errors.py",
    "git.py",
    "gueststore.py",
    "guestviews.py",
    "ids.py",
    "layout.py",
    "lines.py",
    "lock.py",
    "log.py",
    "materialise.py",
    "nix.py",
    "nixlog.py",
    "outbox.py",
    "owner.py",
    "payload_files.py",
    "placement/__init__.py",
    "placement/local.py",
    "process.py",
    "pump.py",
    "realise.py",
    "removal.py",
    "repository.py",
    "runtime/host_init.sh",
    "slots.py",
    "status.py",
    "stop.py",
    "system.py",
    "workspace.py",
)
"""All that the agent imports, and nothing that needs more than the standard library."""


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


@cache
def boot_text() -> str:
    """The program that has the agent on a host and hands over to it."""
    return (Path(__file__).parent / "boot.py").read_text()
