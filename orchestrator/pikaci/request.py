"""A request to `pikaci serve`: a line of JSON."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HINT = "docs/cli.md has the form"


@dataclass(frozen=True)
class Request:
    """A command line and what its process has; no path for a stream is /dev/null."""

    id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdout: str | None
    stderr: str | None


class RequestError(UsageError):
    """A line that is no request; `id` is the request's if it has one."""

    def __init__(self, what: str, request_id: str | None = None) -> None:
        super().__init__(f"not a request: {what}", _HINT)
        self.id = request_id


def parse_request(line: bytes) -> Request:
    """Read a line.

    Raises:
        RequestError: it is no request.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("the line is not JSON") from None
    if not isinstance(values, dict):
        raise RequestError("the line is not a JSON object")
    request_id = values.get("id")
    if not isinstance(request_id, str):
        raise RequestError("`id` is not a string")
    known = {field.name for field in fields(Request)}
    if unknown := sorted(values.keys() - known):
        raise RequestError(f"the key {unknown[0]!r} is not known", request_id)
    wrong = [name for name, is_right in _checks(values) if not is_right]
    if wrong:
        raise RequestError(f"`{wrong[0]}` is missing or has a wrong value", request_id)
    return Request(
        request_id,
        tuple(values["argv"]),
        values["cwd"],
        values["env"],
        values.get("stdout"),
        values.get("stderr"),
    )


def _checks(values: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    argv, env = values.get("argv"), values.get("env")
    yield "argv", isinstance(argv, list) and bool(argv) and all(map(_is_text, argv))
    yield "cwd", _is_path(values.get("cwd"))
    yield (
        "env",
        isinstance(env, dict)
        and all(map(_is_text, env.values()))
        and all(name and _is_text(name) and "=" not in name for name in env),
    )
    for name in ("stdout", "stderr"):
        yield name, values.get(name) is None or _is_path(values[name])


def _is_path(value: object) -> bool:
    """A relative path would be one of the server's."""
    return isinstance(value, str) and value.startswith("/") and _is_text(value)


def _is_text(value: object) -> bool:
    """Whether it is a string that the system takes: bytes without a NUL."""
    if not isinstance(value, str):
        return False
    with suppress(UnicodeEncodeError):
        return b"\0" not in os.fsencode(value)
    return False


def open_streams(request: Request) -> list[int]:
    """stdin, stdout and stderr of the request's process, as descriptors; files are appended to."""
    opened = []
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Nonblocking, for a FIFO without a reader would be waited for.
    wanted = [(None, os.O_RDONLY), (request.stdout, flags), (request.stderr, flags)]
    try:
        for path, how in wanted:
            opened.append(os.open(path or os.devnull, how | os.O_NONBLOCK | os.O_NOCTTY, 0o600))
            os.set_blocking(opened[-1], True)
    except OSError:
        for stream in opened:
            os.close(stream)
        raise
    return opened
