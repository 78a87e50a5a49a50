"""Requests to an Incus daemon, and their retries.

What was tried on Incus 6.0:

- Operations live in the daemon's memory: a restart forgets them, and the instances keep running.
- A daemon that was told to end still answers for a while. It has no error code for that.
"""

from __future__ import annotations

import json
import stat
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

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
from jerichoci.runtime.incus.unix_http import Answer, Connections
from jerichoci.state.trace import span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ANSWER_SECS = 60.0
"""For an answer that waits for nothing, from a busy daemon."""
WAIT_SLICE_SECS = 30
"""One request waits at most this long for an operation; then the next one does."""
RECONNECT_SECS = 60.0
"""A restarted daemon is back in seconds."""
RECONNECT_PAUSE_SECS = 0.2
DONE = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED})
FAILURE = 400
SUCCESS = 200
NO_PROGRAM = "Command not found"
"""The whole error of an exec whose program is missing, or whose exit code is 127."""
PLAIN = "/%:@!$&'()*+,;=-._~"
"""Of a path, whose names are quoted already."""
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
        self._connections = Connections(path)
        self._has_answered = False
        self._info: Mapping[str, Any] | None = None

    def info(self) -> Mapping[str, Any]:
        """What the daemon reports about itself."""
        found: Mapping[str, Any] = self.get("", patient=False)
        self._info = found
        return found

    def member(self) -> str | None:
        """The cluster member that answers: the target for what each member has of its own."""
        return member_of(self._info or self.patiently(self.info))

    def get(self, path: str, *, patient: bool = True, **params: str | None) -> Any:  # noqa: ANN401 - JSON
        """What is at a path; unless `patient`, without waiting for a daemon that is down."""

        def ask() -> Any:  # noqa: ANN401 - JSON
            return self._values(self.call("get", path, params=params))["metadata"]

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
                never_answered = not self._has_answered and self.route.is_up
                self.route.wait_until_up()
                if never_answered or self.route.clock() > end:
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)

    def call(  # noqa: PLR0913 - by name, as HTTP has them
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | None] | None = None,
        json: Mapping[str, Any] | None = None,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; its answer, which is no error."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        if self.project:
            given["project"] = self.project
        target = f"/1.0/{quote(path, safe=PLAIN)}".rstrip("/")
        target += f"?{urlencode(given)}" if given else ""
        headers = dict(headers or {})
        if json is not None:
            data, headers["Content-Type"] = _dumped(json), "application/json"
        ask = self._connections.request
        try:
            with span(f"{method} {path}", "incus"):
                answer = ask(method.upper(), target, data, headers, secs=ANSWER_SECS)
        except OSError as error:
            self.blame(error)
        self._has_answered = True
        if answer.status not in DONE:
            self.refuse(answer.status, _error_of(answer))
        return answer

    def _values(self, answer: Answer) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        match found:
            case {"type": "error"}:
                # Of an operation that failed, whose wait went well.
                self.refuse(answer.status, _error_of(answer))
            case {"type": _}:
                return {"metadata": None, **found}
        raise IncusError(f"what answers is no Incus: {answer.text[:200]!r}")

    def wait(self, answer: Answer, end: float) -> dict[str, Any]:
        """Wait for the operation that an answer names, until `end` of `route.clock`; its values."""
        begun = self._values(answer)
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

    def refuse(self, status: int, why: str) -> NoReturn:
        """Raise what Incus said with a status that is an error."""
        match status:
            case HTTPStatus.NOT_FOUND:
                raise MissingError(f"Incus: {why}")
            case HTTPStatus.CONFLICT:
                raise ConflictError(f"Incus: {why}")
            case HTTPStatus.SERVICE_UNAVAILABLE if SHUTTING_DOWN in why.lower():
                raise EndingError(
                    f"Incus {self.route.where} is shutting down: it waits for commands in guests",
                    "try again when it is back",
                )
        is_remote = status == HTTPStatus.SERVICE_UNAVAILABLE or _is_ending(why)
        raise (UnreachableError if is_remote else IncusError)(f"Incus: {why}")

    def blame(self, error: Exception) -> NoReturn:
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


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


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


def _dumped(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode()


def _error_of(answer: Answer) -> str:
    """The error in an answer, or the text of what is no answer of Incus's."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()
