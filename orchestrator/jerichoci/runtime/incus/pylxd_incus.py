"""Incus over pylxd's low level, which is plain REST; nothing else in pikaci imports pylxd.

pylxd's own models stay unused: they look for LXD, poll ten times a second, and fail on bytes that
aren't UTF-8. What was tried on Incus 6.0 and pylxd 2.4:

- An exec without websockets returns an operation; a missing program is a 202 and then an error of
  the operation. Its output is in files of the instance.
- Operations live in the daemon's memory: after a restart theirs are gone, and the instances go on.
- An ephemeral instance may be gone before a stop of it has answered.
"""

from __future__ import annotations

import logging
import math
import stat
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

import pylxd
import requests
from pylxd import exceptions
from requests_toolbelt import MultipartEncoder

from jerichoci.placement.route import LocalRoute
from jerichoci.runtime.incus.api import (
    ConflictError,
    EndingError,
    Executed,
    IncusError,
    Instance,
    LostError,
    MissingError,
    Network,
    NoProgramError,
    Profile,
    Server,
    Session,
    StoredImage,
    UnreachableError,
)
from jerichoci.runtime.incus.unix_http import SCHEME, session_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jerichoci.placement.route import Route
    from jerichoci.runtime.incus.api import InstanceSpec

CONNECT_SECS = 10.0
ANSWER_SECS = 60.0
"""For an answer that waits for nothing, from a daemon that is busy."""
WAIT_SLICE_SECS = 30
"""One request waits so long for an operation, then another one does."""
IMPORT_SECS = 1800.0
"""For an image of some GiB to be uploaded, hashed and stored."""
RECONNECT_SECS = 60.0
"""A daemon that is being restarted is back in seconds."""
RECONNECT_PAUSE_SECS = 0.2
START_SECS = 5.0
"""What can't be started for so long, with nobody at it, a daemon that was killed half made."""
REMOVAL_PAUSE_SECS = 0.05
ALIAS_ATTEMPTS = 3
NO_MEMORY_GROUP = "cgroup memory controller"
"""In the kind of a warning about what the host lacks."""
FAILURE = 400
SUCCESS = 200
NO_PROGRAM = "Command not found"
"""The whole error of an exec whose program isn't there, or whose exit code is 127."""
SHUTTING_DOWN = "shutting down"
ENDING = ("context canceled", "database is closed", SHUTTING_DOWN, "signal: killed")
"""In what a daemon says that has been told to end, of itself and of what it was doing; it has no
code for it, and for a while it goes on answering."""
CUT_OFF_LIMIT = 10
"""How often a creation may be cut off: somebody else may kill what the daemon runs for it."""

_NEVER_SENT = (FileNotFoundError, ConnectionRefusedError)


class PylxdIncus:
    """A daemon's socket, and a project. It is connected to when it is first asked for something."""

    def __init__(self, socket: Path, project: str, route: Route | None = None) -> None:
        self.project = project
        self._socket = socket
        self._route = route or LocalRoute(socket)
        self._client: Any = None

    def server(self) -> Server:
        """Say who answers."""
        # What pylxd asked for when it connected is new enough for whoever asks first.
        found = self._get("", patient=False) if self._client else self._connected().host_info
        environment = found.get("environment", {})
        drivers = tuple(part.strip() for part in environment.get("driver", "").split("|"))
        trusted = found.get("auth") == "trusted"
        version = str(environment.get("server_version", "?"))
        return Server(version, drivers, trusted, _member(found))

    def _member(self) -> str | None:
        """The member of a cluster that answers: the target for what each has of its own."""
        return _member(self._patiently(self._connected).host_info)

    def project_config(self) -> Mapping[str, str] | None:
        """The project's configuration."""
        found = self._find(f"projects/{quote(self.project, safe='')}")
        return None if found is None else found.get("config") or {}

    def ignores_memory_limits(self) -> bool:
        """Whether the host has no way to limit a container's memory."""
        rows = self._get("warnings", recursion="1")
        found = [row["type"].lower() for row in rows if row["status"] != "resolved"]
        return any(NO_MEMORY_GROUP in kind for kind in found)

    def create(self, spec: InstanceSpec, deadline_secs: float) -> None:
        """Create an instance and start it."""
        body = {
            "name": spec.name,
            "type": "virtual-machine" if spec.is_vm else "container",
            "source": {"type": "image", "fingerprint": spec.image},
            "profiles": [spec.profile],
            "ephemeral": True,
            "start": True,
            "config": dict(spec.config),
            "devices": {name: dict(row) for name, row in spec.devices.items()},
        }
        end = self._route.clock() + deadline_secs
        cut_off: IncusError | None = None
        for _ in range(CUT_OFF_LIMIT):
            try:
                begun = self._call("post", "instances", json=body, target=self._member())
                self._wait(begun, end)
            except (UnreachableError, LostError) as error:
                if cut_off is None and isinstance(error, EndingError):
                    raise
                cut_off = error
            except IncusError:
                # Ours, if it was only slow to appear.
                if cut_off is None or self.instance(spec.name) is None:
                    raise
            else:
                return
            # Cut off half-way. What came of it is known when the daemon is back.
            if self._settle(spec.name, end, cut_off):
                return
        raise cut_off or IncusError(f"guest {spec.name} can't be created")

    def _settle(self, name: str, end: float, error: IncusError) -> bool:
        """Whether an instance whose creation was cut off runs; False if it was never begun."""
        # The daemon that makes it needs nobody who waits.
        for operation in self._going_on(name):
            with suppress(LostError):
                self._outcome(operation, end)
        doomed = self._route.clock() + START_SECS
        while found := self.instance(name):
            if found.is_running:
                return True
            if self._route.clock() > end:
                raise error
            body = {"action": "start", "timeout": -1}
            try:
                self._wait(self._call("put", f"instances/{name}/state", json=body), end)
            except IncusError as refused:
                error = refused  # or what was cut off starts it already
                if isinstance(refused, EndingError):
                    doomed = self._route.clock() + START_SECS
                elif self._route.clock() > doomed and not self._going_on(name):
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)
        time.sleep(RECONNECT_PAUSE_SECS)
        if self._route.clock() > end:
            raise error
        return False

    def _going_on(self, name: str) -> list[str]:
        """The operations on an instance that aren't over."""
        groups: dict[str, Any] = {}
        with suppress(MissingError):
            groups = self._get("operations", recursion="1")
        return [
            f"operations/{row['id']}"
            for status in ("pending", "running")
            for row in groups.get(status) or ()
            for path in (row.get("resources") or {}).get("instances") or ()
            if path.partition("?")[0].endswith(f"/instances/{name}")
        ]

    def instance(self, name: str, *, patient: bool = True) -> Instance | None:
        """An instance."""
        found = self._find(f"instances/{name}", patient=patient)
        return _instance(found) if found else None

    def instances(self, config: Mapping[str, str]) -> list[Instance]:
        """The instances whose config has these values."""
        found = [_instance(row) for row in self._get("instances", recursion="1")]
        return [row for row in found if config.items() <= row.config.items()]

    def execute(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], deadline_secs: float
    ) -> Executed:
        """Run a command in a guest."""
        body = {
            "command": list(argv),
            "environment": dict(env),
            "wait-for-websocket": False,
            "record-output": True,
            "interactive": False,
        }
        end = self._route.clock() + deadline_secs
        while True:
            try:
                done = self._wait(self._call("post", f"instances/{name}/exec", json=body), end)
            except EndingError:
                raise
            except (UnreachableError, LostError):
                self._route.wait_until_up()
                if self._route.clock() > end:
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)
            else:
                return self._executed(done)

    def _executed(self, operation: dict[str, Any]) -> Executed:
        result = operation.get("metadata") or {}
        code = int(result.get("return", -1))
        if code == 0:
            return Executed(code, b"", b"")
        output = result.get("output") or {}
        return Executed(code, self._file(output.get("1")), self._file(output.get("2")))

    def _file(self, path: str | None) -> bytes:
        if not path:
            return b""
        try:
            answer = self._call("get", _path(path), is_api=False)
        except IncusError:
            return b""  # said for people only, and gone with the instance
        return bytes(answer.content)

    def keep(self, name: str, config: Mapping[str, str]) -> None:
        """Let an instance outlive its stop."""
        body = {"ephemeral": False, "config": dict(config)}
        self._patiently(lambda: self._call("patch", f"instances/{name}", json=body))

    def stop(self, name: str) -> None:
        """Ask for an instance to be stopped."""
        body = {"action": "stop", "timeout": -1, "force": True}
        try:
            self._patiently(lambda: self._call("put", f"instances/{name}/state", json=body))
        except MissingError:
            return

    def delete(self, name: str, deadline_secs: float) -> None:
        """Stop and remove an instance."""
        end = self._route.clock() + deadline_secs
        while found := self.instance(name):
            error = self._remove(found, end)
            if self._route.clock() > end:
                raise IncusError(
                    f"guest {name} can't be removed: {error or 'it is still there'}",
                    f"try `incus delete --force --project {self.project} {name}`",
                )
            time.sleep(REMOVAL_PAUSE_SECS)

    def _remove(self, found: Instance, end: float) -> IncusError | None:
        """One step on the way to an instance's removal; what kept it."""
        try:
            if found.status != "Stopped":
                body = {"action": "stop", "timeout": -1, "force": True}
                self._wait(self._call("put", f"instances/{found.name}/state", json=body), end)
            else:
                self._wait(self._call("delete", f"instances/{found.name}"), end)
        except MissingError:
            return None
        except IncusError as error:
            return error
        return None

    def begin(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        size: tuple[int, int] | None = None,
    ) -> Session:
        """Begin a command in a guest."""
        body: dict[str, Any] = {
            "command": list(argv),
            "environment": dict(env),
            "wait-for-websocket": True,
            "interactive": size is not None,
        }
        if size is not None:
            body |= {"width": size[0], "height": size[1]}
        begun = self._call("post", f"instances/{name}/exec", json=body).json()
        path = f"/1.0/{_path(begun['operation'])}"
        secrets = begun["metadata"]["metadata"]["fds"]
        paths = {fd: f"{path}/websocket?secret={quote(secret)}" for fd, secret in secrets.items()}
        return Session(self._socket, path, paths)

    def exit_code(self, session: Session) -> int:
        """Wait for a session's end."""
        done = self._ended(session.operation, math.inf)
        code = (done.get("metadata") or {}).get("return")
        if code is None:
            raise IncusError(f"Incus: {done.get('err') or done.get('status')}")
        return int(code)

    def images(self) -> list[StoredImage]:
        """The project's images."""
        return [_image(row) for row in self._get("images", recursion="1")]

    def image(self, alias: str) -> StoredImage | None:
        """The image that an alias names."""
        return next((found for found in self.images() if alias in found.aliases), None)

    def import_image(self, metadata: Path, rootfs: Path, *, is_vm: bool) -> str:
        """Import a split image."""
        with metadata.open("rb") as head, rootfs.open("rb") as body:
            part = "rootfs.img" if is_vm else "rootfs"
            form = MultipartEncoder(
                {
                    "metadata": (metadata.name, head, "application/octet-stream"),
                    part: (rootfs.name, body, "application/octet-stream"),
                }
            )
            answer = self._call(
                "post",
                "images",
                data=form,
                headers={"Content-Type": form.content_type, "X-Incus-public": "0"},
                timeout=(CONNECT_SECS, IMPORT_SECS),
            )
        done = self._wait(answer, self._route.clock() + IMPORT_SECS)
        return str(done["metadata"]["fingerprint"])

    def set_properties(self, fingerprint: str, properties: Mapping[str, str]) -> None:
        """Add to an image's properties."""
        body = {"properties": dict(properties)}
        self._patiently(lambda: self._call("patch", f"images/{fingerprint}", json=body))

    def point_alias(self, alias: str, fingerprint: str) -> None:
        """Have an alias name an image."""
        body = {"target": fingerprint}
        path = f"images/aliases/{quote(alias, safe='')}"
        for _ in range(ALIAS_ATTEMPTS):
            with suppress(MissingError):
                self._patiently(lambda: self._call("patch", path, json=body))
                return
            # There is no such alias, or no such image; or there is an alias by now.
            with suppress(ConflictError):
                self._call("post", "images/aliases", json={**body, "name": alias})
                return
        raise MissingError(f"Incus: there is no image {fingerprint}")

    def delete_image(self, fingerprint: str) -> None:
        """Remove an image."""
        end = self._route.clock() + ANSWER_SECS
        self._wait(self._call("delete", f"images/{fingerprint}"), end)

    def pool_driver(self, pool: str) -> str | None:
        """The driver of a storage pool."""
        found = self._find(f"storage-pools/{quote(pool, safe='')}")
        return str(found["driver"]) if found else None

    def pool_free_bytes(self, pool: str) -> int | None:
        """The room left in a storage pool."""
        path = f"storage-pools/{quote(pool, safe='')}/resources"
        found = self._find(path, target=self._member())
        space = (found or {}).get("space") or {}
        return space["total"] - space.get("used", 0) if space.get("total") else None

    def is_unpacked(self, pool: str, fingerprint: str) -> bool:
        """Whether a pool has an image's unpacked copy."""
        path = f"storage-pools/{quote(pool, safe='')}/volumes/image/{fingerprint}"
        return self._find(path, target=self._member()) is not None

    def profile(self, name: str) -> Profile | None:
        """A profile."""
        found = self._find(f"profiles/{quote(name, safe='')}")
        return Profile(name, found["devices"], found.get("config") or {}) if found else None

    def networks(self) -> list[Network]:
        """The host's interfaces."""
        rows = self._get("networks", recursion="1")
        return [Network(str(row["name"]), str(row["type"]), bool(row["managed"])) for row in rows]

    def has_network(self, name: str) -> bool:
        """Whether the host has a network or an interface of that name."""
        return self._find(f"networks/{quote(name, safe='')}") is not None

    def _find(
        self, path: str, *, patient: bool = True, target: str | None = None
    ) -> dict[str, Any] | None:
        params = {"target": target} if target else {}
        try:
            found: dict[str, Any] = self._get(path, patient=patient, **params)
        except MissingError:
            return None
        return found

    def _get(self, path: str, *, patient: bool = True, **params: str) -> Any:  # noqa: ANN401 - JSON
        def ask() -> Any:  # noqa: ANN401 - JSON
            return self._call("get", path, params=params).json()["metadata"]

        if patient:
            return self._patiently(ask)
        if not self._route.is_up:
            raise UnreachableError(f"Incus can't be reached {self._route.where} just now")
        return ask()

    def _patiently(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what work gives
        """Do what may be done twice, while a daemon that answered before is being restarted."""
        end = self._route.clock() + RECONNECT_SECS
        while True:
            try:
                return work()
            except EndingError:
                raise
            except UnreachableError:
                is_in_vain = self._client is None and self._route.is_up
                self._route.wait_until_up()
                if is_in_vain or self._route.clock() > end:
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)

    def _wait(self, answer: Any, end: float) -> dict[str, Any]:  # noqa: ANN401 - pylxd has no types
        """Wait for the operation that an answer names; its values."""
        begun = answer.json()
        if begun.get("type") != "async":
            return {"metadata": begun.get("metadata") or {}}
        return self._outcome(begun["operation"], end)

    def _outcome(self, operation: str, end: float) -> dict[str, Any]:
        done = self._ended(operation, end)
        if done["status_code"] == SUCCESS:
            return done
        if done.get("err") == NO_PROGRAM:
            raise NoProgramError(f"Incus: {done['err']}")
        why = str(done.get("err") or done.get("status"))
        raise (LostError if _is_ending(why) else IncusError)(f"Incus: {why}")

    def _ended(self, operation: str, end: float) -> dict[str, Any]:
        path = _path(operation)
        while True:
            left = int(max(1, min(WAIT_SLICE_SECS, end - self._route.clock() + 1)))
            try:
                done = self._look(path, left)
            except MissingError as error:
                raise LostError(error.message) from error
            if done["status_code"] == SUCCESS or done["status_code"] >= FAILURE:
                return done
            if self._route.clock() > end:
                what = done.get("description", "an operation").lower()
                raise IncusError(f"Incus did not get done with {what} in time")

    def _look(self, path: str, wait_secs: int) -> dict[str, Any]:
        """An operation, as it is when it is over or the time is up."""
        found: dict[str, Any]
        try:
            found = self._get(f"{path}/wait", timeout=str(wait_secs))
        except (MissingError, UnreachableError):
            raise
        except IncusError:
            # To wait for what fails fails as well, without saying what it gave.
            found = self._get(path)
        return found

    def _call(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 - pylxd has no types
        arguments.setdefault("timeout", (CONNECT_SECS, ANSWER_SECS))
        node = self._connected().api
        for part in filter(None, path.split("/")):
            node = node[part]
        with self._translated():
            return getattr(node, method)(**arguments)

    def _connected(self) -> Any:  # noqa: ANN401 - pylxd has no types
        if self._client is None:
            with self._translated():
                self._client = self._connect()
        return self._client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Have the errors of pylxd and requests leave as ours."""
        try:
            yield
        except exceptions.NotFound as error:
            raise MissingError(f"Incus: {error}") from error
        except exceptions.Conflict as error:
            raise ConflictError(f"Incus: {error}") from error
        except exceptions.LXDAPIException as error:
            is_away = error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            if is_away and SHUTTING_DOWN in str(error).lower():
                raise EndingError(
                    f"Incus {self._route.where} is shutting down: it waits for commands in guests",
                    "try again when it is back",
                ) from error
            is_away = is_away or _is_ending(str(error))
            raise (UnreachableError if is_away else IncusError)(f"Incus: {error}") from error
        except (requests.RequestException, exceptions.ClientConnectionFailed) as error:
            self._blame(error)

    def _connect(self) -> Any:  # noqa: ANN401 - pylxd has no types
        # ws4py, which pylxd loads, says what it does at INFO; urllib3 that it connects.
        for name in ("ws4py", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        endpoint = f"{SCHEME}{quote(str(self._socket), safe='')}"
        limits = (CONNECT_SECS, ANSWER_SECS)
        session = session_at(self._socket)
        return pylxd.Client(
            endpoint=endpoint, project=self.project, timeout=limits, session=session
        )

    def _blame(self, error: Exception) -> NoReturn:
        """Say why Incus can't be reached, and what to do."""
        cause = _root(error)
        at = f"Incus can't be reached {self._route.where}"
        if isinstance(cause, PermissionError):
            raise UnreachableError(f"{at}: no permission", self._group_hint()) from error
        if isinstance(cause, _NEVER_SENT):
            hint = "is it installed and running? `pikaci doctor` tells more"
            raise UnreachableError(f"{at}: {cause.strerror}", hint) from error
        why = self._route.last_failure or cause
        raise UnreachableError(f"{at}: {why}", "is the daemon being restarted?") from error

    def _group_hint(self) -> str:
        import grp

        try:
            found = self._socket.stat()
            group = grp.getgrgid(found.st_gid).gr_name
        except (OSError, KeyError):
            return "join the group that may use it, usually incus-admin, and log in again"
        if not found.st_mode & stat.S_IWGRP or group == "root":
            return f"only root may use it; run incusd with `--group`, or pikaci as {group}"
        return f"join the group {group} (`usermod -aG {group} $USER`), and log in again"


def _path(url: str) -> str:
    """What Incus calls a thing, as we ask for it: members of a cluster add parameters."""
    return urlsplit(url).path.removeprefix("/1.0/")


def _member(info: Mapping[str, Any]) -> str | None:
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


def _instance(row: dict[str, Any]) -> Instance:
    is_vm = row.get("type") == "virtual-machine"
    return Instance(str(row["name"]), str(row["status"]), is_vm, row.get("config") or {})


def _image(row: dict[str, Any]) -> StoredImage:
    return StoredImage(
        fingerprint=str(row["fingerprint"]),
        aliases=tuple(alias["name"] for alias in row.get("aliases") or ()),
        is_vm=row.get("type") == "virtual-machine",
        architecture=str(row.get("architecture", "")),
        size_bytes=int(row.get("size", 0)),
        created_at=str(row.get("created_at", "")),
        uploaded_at=str(row.get("uploaded_at", "")),
        properties=row.get("properties") or {},
    )
