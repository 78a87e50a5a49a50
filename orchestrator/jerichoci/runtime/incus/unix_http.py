"""HTTP over a unix socket with as few connections as there are concurrent requests.

pylxd's own session makes a connection for each URL, which costs a round trip where the socket leads
to another machine.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3
import urllib3.connection

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = "http+unix://"
CONNECTIONS = 32
"""Kept for later requests."""


def session_at(path: Path) -> requests.Session:
    """A session whose requests go to the socket at a path, whatever host they name."""
    session = requests.Session()
    # The environment's proxies and passwords are for other hosts.
    session.trust_env = False
    session.mount(SCHEME, _Adapter(path))
    return session


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(self.timeout if isinstance(self.timeout, float | int) else None)
            link.connect(str(self._path))
        except BaseException:
            link.close()
            raise
        return link


class _Pool(urllib3.HTTPConnectionPool):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", maxsize=CONNECTIONS)
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pool = _Pool(path)

    def get_connection_with_tls_context(self, *_arguments: Any, **_named: Any) -> _Pool:  # noqa: ANN401 - of no use here
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _proxies: Any) -> str:  # noqa: ANN401 - of no use here
        return request.path_url

    def close(self) -> None:
        self._pool.close()
        super().close()
