"""What pikaci asks of an Incus daemon.

Source: Incus's REST API (doc/rest-api.yaml), version 6.0. What was tried on it:

- An exec without websockets returns an operation; a missing program is a 202 and then an error of
  the operation. Its output is in files of the instance.
- An ephemeral instance may be gone before a stop of it has answered.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from jerichoci.runtime.incus.api import (
    EndingError,
    ExecSession,
    Executed,
    IncusError,
    Instance,
    LostError,
    MissingError,
    Network,
    Profile,
    Server,
    UnreachableError,
)
from jerichoci.runtime.incus.images import Images
from jerichoci.runtime.incus.rest import (
    RECONNECT_PAUSE_SECS,
    Rest,
    member_of,
    path_of,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jerichoci.placement import Placement, Route

REMOVAL_PAUSE_SECS = 0.05
CUT_OFF_LIMIT = 10
"""How often a creation may be cut off: other programs may kill what the daemon runs for it."""
NO_MEMORY_GROUP = "cgroup memory controller"
"""In the kind of a warning about what the host lacks."""

_OPENED: WeakKeyDictionary[Placement, tuple[Route, Incus]] = WeakKeyDictionary()


async def open_incus(placement: Placement) -> Incus:
    """The Incus of a placement's host, one object for all who use it; no request is sent yet."""
    route = await placement.incus_route()
    known = _OPENED.get(placement)
    if known is None or known[0] != route:
        incus = Incus(route.socket, placement.incus_settings().project, route)
        known = _OPENED[placement] = route, incus
    return known[1]


class Incus(Images):
    """An Incus daemon, and one project in it; names are relative to the project.

    All calls block, so they belong in a thread; several threads may share one object. A daemon
    that answered before and is being restarted is waited for.
    """

    def __init__(self, socket: Path, project: str, route: Route | None = None) -> None:
        self.project = project
        super().__init__(Rest(socket, project, route))

    def server(self) -> Server:
        """The daemon that answers."""
        info = self._rest.info()
        environment = info.get("environment", {})
        drivers = tuple(part.strip() for part in environment.get("driver", "").split("|"))
        version = str(environment.get("server_version", "?"))
        return Server(version, drivers, info.get("auth") == "trusted", member_of(info))

    def project_config(self) -> Mapping[str, str] | None:
        """The project's configuration; None if there is no such project."""
        found = self._rest.find(f"projects/{quoted(self.project)}")
        return None if found is None else found.get("config") or {}

    def ignores_memory_limits(self) -> bool:
        """Whether the host can't limit a container's memory, and Incus ignores such limits."""
        # Such a warning is of no project, and a request for a project's has no others.
        server = Rest(self._rest.socket, "", self._rest.route)
        rows = server.get("warnings", recursion="1")
        found = [row["type"].lower() for row in rows if row["status"] != "resolved"]
        return any(NO_MEMORY_GROUP in kind for kind in found)

    def create(self, body: Mapping[str, Any], deadline_secs: float) -> None:
        """Create an instance and start it, in one request.

        In a cluster it is on the member that answers: the directories that it sees are there.
        """
        name, rest, clock = body["name"], self._rest, self._rest.route.clock
        end = clock() + deadline_secs
        cut_off: IncusError | None = None
        for _ in range(CUT_OFF_LIMIT):
            try:
                rest.wait(
                    rest.call("post", "instances", json=body, params={"target": rest.member()}), end
                )
            except (UnreachableError, LostError) as error:
                if cut_off is None and isinstance(error, EndingError):
                    raise
                cut_off = error
            except IncusError:
                # It is ours if it was only slow to appear.
                if cut_off is None or self.instance(name) is None:
                    raise
            else:
                return
            if self._is_made(name, end):
                return
            if clock() > end:
                break
            time.sleep(RECONNECT_PAUSE_SECS)
        raise cut_off or IncusError(f"guest {name} can't be created")

    def begin_creation(self, body: Mapping[str, Any]) -> None:
        """Request an instance without waiting until it is made."""
        self._rest.call("post", "instances", json=body, params={"target": self._rest.member()})

    def finish_operations(self, name: str, deadline_secs: float) -> None:
        """Wait for what is being done with an instance, however that ends."""
        end = self._rest.route.clock() + deadline_secs
        for operation in self._operations(name):
            with suppress(LostError):
                self._rest.ended(operation, end)

    def take_over(
        self,
        name: str,
        expected: Mapping[str, str],
        config: Mapping[str, str],
        devices: Mapping[str, Any],
    ) -> bool:
        """Change a running instance whose config has what is expected; whether it could be."""
        path = f"instances/{name}"
        answer = self._rest.call("get", path)
        found = _instance(answer.json()["metadata"])
        if not found.is_running or not expected.items() <= found.config.items():
            return False
        # Incus refuses the change of what has changed since.
        headers = {"If-Match": answer.etag}
        body = {"config": dict(config), "devices": dict(devices)}
        self._rest.call("patch", path, json=body, headers=headers)
        return True

    def _is_made(self, name: str, end: float) -> bool:
        """Whether an instance whose creation was cut off runs; a half made one is removed."""
        for operation in self._operations(name):
            with suppress(LostError):
                self._rest.outcome(operation, end)
        found = self.instance(name)
        if found and not found.is_running:
            with suppress(IncusError):
                self.delete(name, end - self._rest.route.clock())
        return found is not None and found.is_running

    def _operations(self, name: str) -> list[str]:
        """The unfinished operations on an instance."""
        groups: dict[str, Any] = self._rest.find("operations", recursion="1") or {}
        return [
            f"operations/{row['id']}"
            for status in ("pending", "running")
            for row in groups.get(status) or ()
            for path in (row.get("resources") or {}).get("instances") or ()
            if path.partition("?")[0].endswith(f"/instances/{name}")
        ]

    def instance(self, name: str, *, patient: bool = True) -> Instance | None:
        """An instance; None if there is none of that name.

        Unless `patient`, a daemon that can't be reached is not waited for.
        """
        found = self._rest.find(f"instances/{name}", patient=patient)
        return _instance(found) if found else None

    def instances(self, config: Mapping[str, str]) -> list[Instance]:
        """The instances whose config has these values."""
        found = [_instance(row) for row in self._rest.get("instances", recursion="1")]
        return [row for row in found if config.items() <= row.config.items()]

    def execute(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], deadline_secs: float
    ) -> Executed:
        """Run a command in a guest, as root, to its end; again if the connection breaks."""
        body = {
            "command": list(argv),
            "environment": dict(env),
            "wait-for-websocket": False,
            "record-output": True,
            "interactive": False,
        }
        rest = self._rest
        end = rest.route.clock() + deadline_secs
        while True:
            try:
                done = rest.wait(rest.call("post", f"instances/{name}/exec", json=body), end)
            except EndingError:
                raise
            except (UnreachableError, LostError):
                rest.route.wait_until_up()
                if rest.route.clock() > end:
                    raise
                time.sleep(RECONNECT_PAUSE_SECS)
            else:
                break
        result = done.get("metadata") or {}
        code = int(result.get("return", -1))
        path = (result.get("output") or {}).get("2") if code else None
        if path:
            # It is for people only, and may be gone.
            with suppress(IncusError):
                return Executed(code, rest.call("get", path_of(path)).content)
        return Executed(code, b"")

    def put_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in a running guest, which root alone may read."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Incus-type": "file",
            "X-Incus-uid": "0",
            "X-Incus-gid": "0",
            "X-Incus-mode": "0400",
            "X-Incus-write": "overwrite",
        }
        self._rest.call(
            "post", f"instances/{name}/files", params={"path": path}, data=data, headers=headers
        )

    def begin(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        size: tuple[int, int] | None = None,
    ) -> ExecSession:
        """Begin a command in a guest, as root; on a terminal if it has a size."""
        body: dict[str, Any] = {
            "command": list(argv),
            "environment": dict(env),
            "wait-for-websocket": True,
            "interactive": size is not None,
        }
        if size is not None:
            body |= {"width": size[0], "height": size[1]}
        begun = self._rest.call("post", f"instances/{name}/exec", json=body).json()
        path = f"/1.0/{path_of(begun['operation'])}"
        secrets = begun["metadata"]["metadata"]["fds"]
        paths = {fd: f"{path}/websocket?secret={quote(secret)}" for fd, secret in secrets.items()}
        return ExecSession(self._rest.socket, path, paths)

    def start_log(self, name: str) -> str:
        """What LXC logged of a container's start; empty if there is no such log."""
        with suppress(IncusError):
            path = f"instances/{name}/logs/lxc.log"
            return self._rest.call("get", path).text
        return ""

    def console(self, name: str) -> bytes:
        """The newest of what a container printed on its console."""
        with suppress(IncusError):
            path = f"instances/{name}/console"
            return self._rest.call("get", path).content
        return b""

    def has_address(self, name: str) -> bool:
        """Whether an instance has an address of IPv4 on an interface."""
        state = self._rest.find(f"instances/{name}/state") or {}
        rows = [row for it in (state.get("network") or {}).values() for row in it["addresses"]]
        return any((row["family"], row["scope"]) == ("inet", "global") for row in rows)

    def exit_code(self, session: ExecSession) -> int:
        """Wait for a session's end; its exit code, 127 if the guest has no such command."""
        done = self._rest.ended(session.operation, math.inf)
        code = (done.get("metadata") or {}).get("return")
        if code is None:
            raise IncusError(f"Incus: {done.get('err') or done.get('status')}")
        return int(code)

    def keep(self, name: str, config: Mapping[str, str]) -> None:
        """Let an instance outlive its stop, and add to its config."""
        body = {"ephemeral": False, "config": dict(config)}
        self._rest.change("patch", f"instances/{name}", body)

    def stop(self, name: str) -> None:
        """Request an instance's forced stop, without waiting; no error if it is gone."""
        with suppress(MissingError):
            self._rest.change("put", f"instances/{name}/state", _STOP)

    def delete(self, name: str, deadline_secs: float) -> None:
        """Stop and remove an instance; no error if it is gone."""
        rest = self._rest
        end = rest.route.clock() + deadline_secs
        while found := self.instance(name):
            why: object = "it still exists"
            try:
                if found.status != "Stopped":
                    rest.wait(rest.call("put", f"instances/{name}/state", json=_STOP), end)
                else:
                    rest.wait(rest.call("delete", f"instances/{name}"), end)
            except MissingError:
                pass
            except IncusError as error:
                why = error
            if rest.route.clock() > end:
                raise IncusError(
                    f"guest {name} can't be removed: {why}",
                    f"try `incus delete --force --project {self.project} {name}`",
                )
            time.sleep(REMOVAL_PAUSE_SECS)

    def pool_driver(self, pool: str) -> str | None:
        """The driver of a storage pool; None if there is no such pool."""
        found = self._rest.find(f"storage-pools/{quoted(pool)}")
        return str(found["driver"]) if found else None

    def pool_free_bytes(self, pool: str) -> int | None:
        """The room left in a storage pool; None if that isn't known."""
        path = f"storage-pools/{quoted(pool)}/resources"
        space = (self._rest.find(path, target=self._rest.member()) or {}).get("space") or {}
        return space["total"] - space.get("used", 0) if space.get("total") else None

    def is_unpacked(self, pool: str, fingerprint: str) -> bool:
        """Whether a pool has an image's unpacked copy, of which instances are made."""
        path = f"storage-pools/{quoted(pool)}/volumes/image/{fingerprint}"
        return self._rest.find(path, target=self._rest.member()) is not None

    def profile(self, name: str) -> Profile | None:
        """A profile; None if there is none of that name."""
        found = self._rest.find(f"profiles/{quoted(name)}")
        return Profile(name, found["devices"], found.get("config") or {}) if found else None

    def networks(self) -> list[Network]:
        """The host's interfaces, with those that Incus makes."""
        rows = self._rest.get("networks", recursion="1")
        return [Network(str(row["name"]), str(row["type"]), bool(row["managed"])) for row in rows]

    def create_bridge(self, name: str, config: Mapping[str, str]) -> None:
        """Make a bridge."""
        self._rest.call("post", "networks", json={"name": name, "type": "bridge", "config": config})

    def delete_bridge(self, name: str) -> None:
        """Remove a bridge on which there are no guests; no error if it is gone."""
        with suppress(MissingError):
            self._rest.call("delete", f"networks/{quoted(name)}")

    def bridges(self, config: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """The configuration, by name, of the bridges whose config has these values."""
        rows = self._rest.get("networks", recursion="1")
        found = {str(row["name"]): row.get("config") or {} for row in rows if row["managed"]}
        return {name: row for name, row in found.items() if config.items() <= row.items()}

    def has_network(self, name: str) -> bool:
        """Whether the host has an interface of that name to which guests can be attached."""
        return self._rest.find(f"networks/{quoted(name)}") is not None


_STOP = {"action": "stop", "timeout": -1, "force": True}


def _instance(row: dict[str, Any]) -> Instance:
    is_vm = row.get("type") == "virtual-machine"
    return Instance(str(row["name"]), str(row["status"]), is_vm, row.get("config") or {})
