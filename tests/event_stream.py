"""A client of server-sent events, for tests: it reads as slowly as it is asked to."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Caller


@dataclass(frozen=True)
class Event:
    """One event; a comment has no data."""

    name: str
    id: int | None
    data: dict[str, Any]

    @property
    def is_comment(self) -> bool:
        return self.name == "comment"

    @property
    def bytes(self) -> bytes:
        """What the log has at this place."""
        import base64

        if "base64" in self.data:
            return base64.b64decode(self.data["base64"])
        return str(self.data["text"]).encode()


class EventStream:
    """A connection to a stream."""

    def __init__(self, caller: Caller, path: str, last: int | None = None) -> None:
        parts = urlsplit(caller.url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        headers = dict(caller.headers)
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.response.close()
        self.connection.close()

    def __iter__(self) -> Iterator[Event]:
        name, number, data = "message", None, None
        for raw in self.response:
            line = raw.decode().removesuffix("\n")
            field, _, value = line.partition(": ")
            if line.startswith(":"):
                yield Event("comment", None, {})
            elif field == "event":
                name = value
            elif field == "id":
                number = int(value)
            elif field == "data":
                data = json.loads(value)
            elif not line and data is not None:
                yield Event(name, number, data)
                name, number, data = "message", None, None

    def next(self) -> Event:
        """The next event that is no comment."""
        return next(event for event in self if not event.is_comment)
