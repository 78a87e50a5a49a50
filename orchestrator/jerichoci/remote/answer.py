"""What an agent may answer: a host may be broken, or somebody else's by now."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

Shape = Any
"""A type; a tuple of shapes, one of which it has; a list of one that all members have; a mapping
of one to one that all pairs have; a mapping of names to theirs; something to ask; None."""


def _is_text(value: str) -> bool:
    """Whether it can be a path, or a variable's value."""
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_path(value: str) -> bool:
    return value.startswith("/") and _is_text(value)


NAME = (_is_text, None)
NAMES = [_is_text]
FACTS: Shape = {
    "boot_id": NAME,
    "work_dir": _is_path,
    "system": str,
    "uid": int,
    "gid": int,
    "environment": {str: _is_text},
    "job_path": _is_text,
    "programs": {"bash": NAME, "git": NAME},
}
"""Of a host, in an agent's welcome."""
BUILT: Shape = {
    "outcome": str,
    "path": NAME,
    "gc_root": NAME,
    "cached": bool,
    "failure_kind": NAME,
    "fault": (
        None,
        {"code": str, "message": str, "hint": (str, None), "got_hash": (str, None)},
    ),
}
"""What an agent says of a build that is over."""

_TREE = re.compile("[0-9a-f]{40}|[0-9a-f]{64}").fullmatch
_SHAPES: Mapping[str, Shape] = {
    "collect": {
        "snapshots": NAMES,
        "refs": NAMES,
        "views": NAMES,
        "agents": NAMES,
        "bytes": int,
        "kept": int,
        "problems": NAMES,
    },
    "confinement": {
        "prefix": NAMES,
        "drop": NAMES,
        "overlay": bool,
        "overlay_options": _is_text,
        "setpriv": NAME,
        "memory": bool,
    },
    "clock": (float, int),
    "end_sessions": {"ended": NAMES, "stuck": NAMES, "runs": NAMES},
    "find_snapshot": ({"path": _is_path}, {"bases": [_TREE], "git": _is_path}),
    "guest_view": (None, {"path": _is_path, "outputs": {str: _is_path}}),
    "keep_snapshot": _is_path,
    "probe_socket": {"errno": int, "message": str},
    "reap": {"runs": NAMES, "sessions": NAMES, "left": NAMES, "problems": NAMES},
    "read_artifacts": {"listed": [(int, str)], "is_last": bool},
    "root": bool,
    "run": {"exit_code": int, "stdout_bytes": int},
    "tools": {"nix": NAME, "nix-daemon": NAME, "git": NAME},
    "wait": {
        "exit_code": int,
        "signal": (int, None),
        "started": bool,
        "out_of_memory": bool,
        "log_bytes": int,
    },
    "watch_outbox": {"result_bytes": (int, None), "started": bool},
}


def facts_of(welcome: object) -> dict[str, Any]:
    """What an agent's welcome says of its host.

    Raises:
        ValueError: it can't be understood.
    """
    if not isinstance(welcome, dict) or not fits(FACTS, welcome):
        raise ValueError("what its agent says of it can't be understood")
    return welcome


def is_answer(do: str, value: object) -> bool:
    """Whether a value can be what an agent answers when it was asked for `do`."""
    return do not in _SHAPES or fits(_SHAPES[do], value)


def fits(shape: Shape, value: object) -> bool:
    """Whether a value of JSON has a shape."""
    match shape:
        case None:
            return value is None
        case tuple():
            return any(fits(one, value) for one in shape)
        case list():
            return isinstance(value, list) and all(fits(shape[0], item) for item in value)
        case dict():
            return isinstance(value, dict) and _pairs_fit(shape, value)
        case type():
            return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        case Callable():
            return isinstance(value, str) and bool(shape(value))
    raise TypeError(f"{shape!r} is no shape")


def _pairs_fit(shape: Mapping[Any, Shape], value: Mapping[str, object]) -> bool:
    if str in shape:
        return all(fits(shape[str], item) for item in value.values())
    return all(name in value and fits(inner, value[name]) for name, inner in shape.items())
