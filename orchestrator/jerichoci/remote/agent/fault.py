"""Errors on their way from a host to its orchestrator."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from jerichoci.errors import (
    DiskFullError,
    InfrastructureError,
    PikaciError,
    UsageError,
    is_disk_full,
)
from jerichoci.nix.payload_files import PayloadError

_KINDS: dict[str, type[PikaciError]] = {
    "payload": PayloadError,
    "usage": UsageError,
    "full": DiskFullError,
    "infrastructure": InfrastructureError,
}


LOGGER = logging.getLogger(__name__)
MOST_CHARACTERS = 4000
"""Of what a host says of an error."""


class AgentError(InfrastructureError):
    """The agent itself failed."""


def error_to_json(error: BaseException) -> dict[str, Any]:
    """An error as JSON."""
    for kind, known in _KINDS.items():
        is_kind = isinstance(error, known) or (known is DiskFullError and is_disk_full(error))
        if is_kind and isinstance(error, PikaciError):
            return {"kind": kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else None
        return {"kind": "os", "errno": error.errno, "message": error.strerror, "path": path}
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = "".join(traceback.format_exception(error))
    return {"kind": "internal", "message": f"{error!r}{where}", "traceback": text}


def error_from_json(values: object, host: str) -> Exception:
    """The error that a host sent."""
    said = values if isinstance(values, dict) else {}
    kind, message = said.get("kind"), _text(said.get("message")) or "it doesn't say why"
    if kind == "os":
        number = said.get("errno")
        number = number if isinstance(number, int) else 0
        return OSError(number, f"{message} (on {host})", _text(said.get("path")))
    known = _KINDS.get(str(kind))
    if known is not None:
        return known(message, _text(said.get("hint")))
    LOGGER.debug("on %s: %s", host, said.get("traceback"))
    return AgentError(f"the agent on {host} failed: {message}")


def _text(said: object) -> str | None:
    return said[:MOST_CHARACTERS] if isinstance(said, str) else None
