"""The sessions of one process: one for each host, open until the process needs none any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from jerichoci.nix.command import NixOptions
    from jerichoci.plan.hosts import RemoteHost
    from jerichoci.remote.session import Session


class SessionPool:
    """A context manager: every session ends with it, and what still runs for one on its host."""

    def __init__(self) -> None:
        self._sessions: dict[RemoteHost, Session] = {}

    def session(self, host: RemoteHost, nix: NixOptions) -> Session:
        """The session with a host, which connects when it is first used."""
        if host not in self._sessions:
            from jerichoci.remote.session import Session

            self._sessions[host] = Session(host, nix)
        return self._sessions[host]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        sessions = self._sessions.values()
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)
