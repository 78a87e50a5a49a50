"""Frames between an orchestrator and its agent: JSON, and bytes that go along with it.

Two lengths of four bytes, big-endian, then the JSON in UTF-8, then the bytes.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTHS = struct.Struct(">II")
MOST_BYTES = 64 * 1024 * 1024
"""Of one frame: more is no frame, but something that printed where frames belong."""


class FrameError(Exception):
    """What was received is no frame."""


class Readable(Protocol):
    """What frames can be read from."""

    async def readexactly(self, n: int) -> bytes:
        """Read that many bytes."""


def pack(values: Mapping[str, Any], data: bytes = b"") -> bytes:
    """A frame."""
    text = json.dumps(values, separators=(",", ":")).encode("ascii")
    if len(text) + len(data) > MOST_BYTES:
        raise FrameError(f"a frame of {len(text) + len(data)} bytes")
    return LENGTHS.pack(len(text), len(data)) + text + data


async def unpack(reader: Readable) -> tuple[dict[str, Any], bytes]:
    """The next frame."""
    text_length, data_length = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    if text_length + data_length > MOST_BYTES:
        raise FrameError(f"a frame of {text_length + data_length} bytes")
    text = await reader.readexactly(text_length)
    data = await reader.readexactly(data_length) if data_length else b""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)) from error
    if not isinstance(values, dict):
        raise FrameError("not an object")
    return values, data
