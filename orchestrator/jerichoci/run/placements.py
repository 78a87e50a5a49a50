"""The hosts there are: a Placement for each, made when it is first asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.hosts import fitting, known_hosts_of_run, load_hosts, local_settings
from jerichoci.plan.plan import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.nix.command import NixOptions
    from jerichoci.placement import Placement
    from jerichoci.plan.hosts import HostConfig, RemoteHost
    from jerichoci.remote.pool import SessionPool
    from jerichoci.state.layout import StateLayout

KINDS = ("local", "remote_ssh")


class Placements:
    """The hosts that nodes of a plan may be placed on; `planned` are those that it describes."""

    def __init__(
        self,
        state: StateLayout,
        nix: NixOptions,
        planned: Mapping[str, HostConfig],
        pool: SessionPool,
        here: LocalPlacement | None = None,
    ) -> None:
        """`here` is this machine with these options, if other runs share it."""
        self._state = state
        self._nix = nix
        self._planned = planned
        self._pool = pool
        self._remote: dict[str, Placement] = {}
        self._known: dict[str, RemoteHost] | None = None
        self.here = here or LocalPlacement(state.root, nix, partial(local_settings, state.answers))

    def fitting(
        self, placement: str, config: Mapping[str, Any], resources: Resources
    ) -> list[Placement]:
        """The hosts that a node can be placed on; there is one at least."""
        match placement:
            case "local":
                return [self.here]
            case "remote_ssh":
                found = fitting(self.described(), config, resources.cpus, resources.memory_mib)
                return [self._open(host) for host in found]
            case _:
                raise UsageError(
                    f"unknown placement {placement!r}; this pikaci has {', '.join(KINDS)}",
                    "change the job's `placement`",
                )

    def named(self, placement: str, host: str | None) -> Placement:
        """The host that a record names."""
        return self.fitting(placement, {"host": host}, Resources())[0]

    def remote(self) -> list[Placement]:
        """Every host that is known, but this one."""
        return [self._open(host) for host in self.described().values()]

    def described(self) -> dict[str, RemoteHost]:
        """The hosts that the plan and the user's file describe, by name."""
        if self._known is None:
            self._known = known_hosts_of_run(self._planned, load_hosts(answers=self._state.answers))
        return self._known

    def _open(self, host: RemoteHost) -> Placement:
        if host.name not in self._remote:
            from jerichoci.cleanup.remote import clearing
            from jerichoci.remote.placement import RemotePlacement

            session = self._pool.session(host, self._nix)
            self._remote[host.name] = RemotePlacement(session, self._state, self._nix, clearing)
        return self._remote[host.name]
