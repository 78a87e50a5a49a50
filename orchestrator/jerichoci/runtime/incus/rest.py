"""Requests to an Incus daemon. Only this module imports pylxd, and only its low level, plain REST.

pylxd's own models stay unused: they look for LXD, poll ten times a second, and fail on bytes that
aren't UTF-8. What was tried on Incus 6.0 and pylxd 2.4:

- Operations live in the daemon's memory: a restart forgets them, and the instances keep running.
- A daemon that was told to end still answers for a while. It has no error code for that.
"""

from __future__ import annotations

import logging
import socket
import stat
import time
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

import pylxd
import requests
import requests.adapters
import urllib3
import urllib3.connection
from pylxd import exceptions

from jerichoci.placement import LocalRoute, Route
from jerichoci.runtime.incus.api import (
    ConflictError,
    EndingError,
    IncusError,
    LostError,
    MissingError,
    NoProgramError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CONNECT_SECS = 10.0
ANSWER_SECS = 60.0
"""For an answer that waits for nothing, from a busy daemon."""
WAIT_SLICE_SECS = 30
"""One request waits at most this long for an operation; then the next one does."""
RECONNECT_SECS = 60.0
"""A restarted daemon is back in seconds."""
RECONNECT_PAUSE_SECS = 0.2
SCHEME = "http+unix://"
CONNECTIONS = 32
"""Kept for later requests."""
FAILURE = 400
SUCCESS = 200
NO_PROGRAM = "Command not found"
"""The whole error of an exec whose program is missing, or whose exit code is 127."""
SHUTTING_DOWN = "shutting down"
ENDING = ("context canceled", "database is closed", SHUTTING_DOWN, "signal: killed")
"""In the errors of a daemon that was told to end."""

_NEVER_SENT = (FileNotFoundError, ConnectionRefusedError)


class Rest:
    """A daemon's socket, and a project. It connects at the first request."""

    def __init__(self, path: Path, project: str, route: Route | None = None) -> None:
        self.socket = path
        self.project = project
        self.route = route or LocalRoute(path)
        self._client: Any = None

    def info(self) -> Mapping[str, Any]:
        """What the daemon reports about itself."""
        # The answer from connecting is recent enough for the first caller.
        found: Mapping[str, Any]
        found = self.get("", patient=False) if self._client else self._connected().host_info
        return found

    def member(self) -> str | None:
        """The cluster member that answers: the target for what each member has of its own."""
        return member_of(self.patiently(self._connected).host_info)

    def get(self, path: str, *, patient: bool = True, **params: str | None) -> Any:  # noqa: ANN401 - JSON
        """What is at a path; unless `patient`, without waiting for a daemon that is down."""

        def ask() -> Any:  # noqa: ANN401 - JSON
            return self.call("get", path, params=params).json()["metadata"]

        if patient:
            return self.patiently(ask)
        if not self.route.is_up:
            raise UnreachableError(f"Incus can't be reached {self.route.where} at the moment")
        return ask()

    def find(
        self, path: str, *, patient: bool = True, **params: str | None
    ) -> dict[str, Any] | None:
        """What is at a path; None if nothing is."""
        try:
            found: dict[str, Any] = self.get(path, patient=patient, **params)
        except MissingError:
            return None
        return found

    def change(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Request a change that may be requested twice, without waiting for its operation."""
        self.patiently(lambda: self.call(method, path, json=body))

    def patiently(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what work gives
        """Do what may be done twice, while a daemon that answered before is being restarted."""
        end = self.route.clock() + RECONNECT_SECS
        while True:
            try:
                return work()
            except EndingError:
                raise
            except UnreachableError:
                never_answered = self._client is None and self.route.is_up
                self.route.wait_until_up()
                if never_answered or self.route.clock() > end:
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)

    def call(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 - pylxd has no types
        """One request; its answer."""
        arguments.setdefault("timeout", (CONNECT_SECS, ANSWER_SECS))
        node = self._connected().api
        for part in filter(None, path.split("/")):
            node = node[part]
        with self._translated():
            return getattr(node, method)(**arguments)

    def wait(self, answer: Any, end: float) -> dict[str, Any]:  # noqa: ANN401 - pylxd has no types
        """Wait for the operation that an answer names, until `end` of `route.clock`; its values."""
        begun = answer.json()
        if begun.get("type") != "async":
            return {"metadata": begun.get("metadata") or {}}
        return self.outcome(begun["operation"], end)

    def outcome(self, operation: str, end: float) -> dict[str, Any]:
        """Likewise, of an operation by its URL."""
        done = self.ended(operation, end)
        if done["status_code"] == SUCCESS:
            return done
        if done.get("err") == NO_PROGRAM:
            raise NoProgramError(f"Incus: {done['err']}")
        why = str(done.get("err") or done.get("status"))
        raise (LostError if _is_ending(why) else IncusError)(f"Incus: {why}")

    def ended(self, operation: str, end: float) -> dict[str, Any]:
        """Likewise, however the operation ended."""
        path = path_of(operation)
        while True:
            left = int(max(1, min(WAIT_SLICE_SECS, end - self.route.clock() + 1)))
            try:
                done = self._poll(path, left)
            except MissingError as error:
                raise LostError(error.message) from error
            if done["status_code"] == SUCCESS or done["status_code"] >= FAILURE:
                return done
            if self.route.clock() > end:
                what = done.get("description", "an operation").lower()
                raise IncusError(f"Incus did not finish {what} in time")

    def _poll(self, path: str, wait_secs: int) -> dict[str, Any]:
        """An operation when it is over or the time is up."""
        found: dict[str, Any]
        try:
            found = self.get(f"{path}/wait", timeout=str(wait_secs))
        except (MissingError, UnreachableError):
            raise
        except IncusError:
            # Waiting for an operation that fails is an error itself, which has no details.
            found = self.get(path)
        return found

    def _connected(self) -> Any:  # noqa: ANN401 - pylxd has no types
        if self._client is None:
            # ws4py, which pylxd loads, logs what it does at INFO; urllib3 each connection.
            for name in ("ws4py", "urllib3"):
                logging.getLogger(name).setLevel(logging.ERROR)
            with self._translated():
                self._client = pylxd.Client(
                    endpoint=f"{SCHEME}{quote(str(self.socket), safe='')}",
                    project=self.project,
                    timeout=(CONNECT_SECS, ANSWER_SECS),
                    session=session_at(self.socket),
                )
        return self._client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the errors of pylxd and requests into ours."""
        try:
            yield
        except exceptions.NotFound as error:
            raise MissingError(f"Incus: {error}") from error
        except exceptions.Conflict as error:
            raise ConflictError(f"Incus: {error}") from error
        except exceptions.LXDAPIException as error:
            is_remote = error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            if is_remote and SHUTTING_DOWN in str(error).lower():
                raise EndingError(
                    f"Incus {self.route.where} is shutting down: it waits for commands in guests",
                    "try again when it is back",
                ) from error
            is_remote = is_remote or _is_ending(str(error))
            raise (UnreachableError if is_remote else IncusError)(f"Incus: {error}") from error
        except (requests.RequestException, exceptions.ClientConnectionFailed) as error:
            self._blame(error)

    def _blame(self, error: Exception) -> NoReturn:
        """Raise why Incus can't be reached, and what to do."""
        cause = _root(error)
        at = f"Incus can't be reached {self.route.where}"
        if isinstance(cause, PermissionError):
            raise UnreachableError(f"{at}: no permission", self._group_hint()) from error
        if isinstance(cause, _NEVER_SENT):
            hint = "is it installed and running? `pikaci doctor` shows more"
            raise UnreachableError(f"{at}: {cause.strerror}", hint) from error
        why = self.route.last_failure or cause
        raise UnreachableError(f"{at}: {why}", "is the daemon being restarted?") from error

    def _group_hint(self) -> str:
        import grp

        try:
            found = self.socket.stat()
            group = grp.getgrgid(found.st_gid).gr_name
        except (OSError, KeyError):
            return "join the group that may use it, usually incus-admin, and log in again"
        if not found.st_mode & stat.S_IWGRP or group == "root":
            return f"only root may use it; run incusd with `--group`, or pikaci as {group}"
        return f"join the group {group} (`usermod -aG {group} $USER`), and log in again"


def path_of(url: str) -> str:
    """The path of a URL that Incus gives, without the parameters that a cluster adds."""
    return urlsplit(url).path.removeprefix("/1.0/")


def member_of(info: Mapping[str, Any]) -> str | None:
    """The name of the cluster member whose `info` this is."""
    environment = info.get("environment", {})
    return str(environment["server_name"]) if environment.get("server_clustered") else None


def _is_ending(why: str) -> bool:
    return any(words in why.lower() for words in ENDING)


def _root(error: BaseException) -> BaseException:
    """The first cause of an error; requests and urllib3 wrap it in their own."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = error.__cause__ or error.__context__
        wrapped = [arg for arg in error.args if isinstance(arg, BaseException)]
        error = wrapped[-1] if wrapped else (inner or error)
    return error


def session_at(path: Path) -> requests.Session:
    """A session whose requests go to the socket at a path, whatever host they name."""
    session = requests.Session()
    # The environment's proxies and passwords are for other hosts.
    session.trust_env = False
    session.mount(SCHEME, _Adapter(path))
    return session


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, path: Path, **named: Any) -> None:  # noqa: ANN401 - the pool's
        super().__init__(**named)
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


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes as few connections as there are concurrent requests.

    pylxd's own makes one for each URL, which costs a round trip where the socket leads to another
    machine.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pool = urllib3.HTTPConnectionPool("localhost", maxsize=CONNECTIONS)
        self._pool.ConnectionCls = partial(_Connection, path)  # type: ignore[assignment]

    def get_connection_with_tls_context(
        self, *_: object, **_named: object
    ) -> urllib3.HTTPConnectionPool:
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _proxies: object) -> str:
        return request.path_url

    def close(self) -> None:
        self._pool.close()
        super().close()
