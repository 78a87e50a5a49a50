"""Errors on their way from a host to its orchestrator."""

from __future__ import annotations

import traceback
from typing import Any

from jerichoci.errors import InfrastructureError, PikaciError, UsageError
from jerichoci.payload_files import PayloadError

_KINDS: dict[str, type[PikaciError]] = {
    "payload": PayloadError,
    "usage": UsageError,
    "infrastructure": InfrastructureError,
}


class AgentError(Exception):
    """The agent itself failed; the text is its traceback."""


def told(error: BaseException) -> dict[str, Any]:
    """An error as JSON."""
    for kind, known in _KINDS.items():
        if isinstance(error, known) and isinstance(error, PikaciError):
            return {"kind": kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else None
        return {"kind": "os", "errno": error.errno, "message": error.strerror, "path": path}
    text = "".join(traceback.format_exception(error))
    return {"kind": "internal", "message": text}


def raised(values: dict[str, Any], host: str) -> Exception:
    """The error that a host told of."""
    kind, message = values.get("kind"), str(values.get("message"))
    if kind == "os":
        return OSError(values.get("errno"), f"{message} (on {host})", values.get("path"))
    known = _KINDS.get(str(kind))
    if known is not None:
        return known(message, values.get("hint"))
    return AgentError(f"the agent on {host} failed:\n{message}")
