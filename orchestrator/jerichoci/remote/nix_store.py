"""The Nix store of a remote host: what is copied there, and what is built there.

A socket here leads to a `nix-daemon --stdio` there, so the `nix` here needs no ssh of its own, and
what goes through can be counted.
"""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.machine.stop import Stop, StoppedError
from jerichoci.nix import command as nix
from jerichoci.nix.realised import CANCELLED, BuildRequest, Observer, Realised, failed
from jerichoci.remote import host_refusals
from jerichoci.remote.agent.agent_operations import BuildReport, open_builds, read_builds, root
from jerichoci.remote.program import far_argv, persistently
from jerichoci.remote.ssh.errors import HostSetupError
from jerichoci.remote.ssh.forward import Forward, forwarded_command
from jerichoci.remote.ssh.shell_line import shell_line
from jerichoci.remote.ssh.socket_directory import socket_directory
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from jerichoci.nix.command import NixOptions
    from jerichoci.remote.session import Session

COPIES = 3
"""How often a path is copied that a collector there takes before it is rooted."""
COPY_SECS = 3600.0
"""For tens of GiB over a slow line."""
SIGN_SECS = 600.0
"""For a closure of many thousand paths to be signed."""


class FarStore:
    """The store of a session's host."""

    def __init__(self, session: Session, options: NixOptions) -> None:
        self._session = session
        self._options = options

    async def bring(self, built: Realised, link: Path) -> Realised:
        """Have there a path that is valid here, with its closure, and root it at `link` there."""
        path = built.path or ""
        await self._check_nix()
        if await self._root(path, link):
            return Realised(Outcome.PASSED, path, link, cached=True)
        sent = 0
        async with self._session.copying:
            for _ in range(COPIES):
                sent += await self._copy([path])
                if await self._root(path, link):
                    return Realised(Outcome.PASSED, path, link, copied_bytes=sent)
        raise InfrastructureError(
            f"{path} was copied to {self._session.name} and isn't there",
            "is its Nix store being collected just now? Run it again",
        )

    async def realise(
        self, builds: Mapping[str, BuildRequest], gcroots: Path, observer: Observer, stop: Stop
    ) -> None:
        """Copy derivations to the host, and build them there; reports as `Realiser.run` does."""
        telling = _Telling(observer, set(builds))
        try:
            await stop.unless(self._realise(builds, gcroots, telling))
        except StoppedError:
            telling.give_up(CANCELLED)
        except InfrastructureError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            why = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
            telling.give_up(why)

    async def _realise(
        self, builds: Mapping[str, BuildRequest], gcroots: Path, telling: _Telling
    ) -> None:
        await self._check_nix()
        async with self._session.copying:
            for node_id, build in builds.items():
                if not await self._root(build.out_path, gcroots / node_id):
                    telling.sent[node_id] = await self._send(build)
        async with self._session.hold(open_builds, builds, gcroots) as held:
            while reports := await self._next_reports(held.handle):
                for report in reports:
                    telling.hear(report)

    async def _next_reports(self, handle: str) -> list[BuildReport]:
        try:
            return await self._session.do(read_builds, handle)
        except OSError as error:
            raise InfrastructureError(f"{self._session.name} can't build: {error}") from error

    async def _send(self, build: BuildRequest) -> int:
        """Copy what an output is made from; what evaluation made is copied itself."""
        if build.drv_path is None:
            return await self._copy([build.out_path])
        return await self._copy([build.drv_path], "--derivation")

    async def _root(self, path: str, link: Path) -> bool:
        return await self._session.do(root, Path(path), link)

    async def _check_nix(self) -> None:
        """Refuse a host without a Nix that will do."""
        try:
            host_refusals.check_nix(self._session.name, await self._session.tools())
        except HostSetupError as error:
            raise _Unfit(error.message, error.hint) from error

    async def _copy(self, paths: Sequence[str], *flags: str) -> int:
        """Copy what is missing; the bytes that went there.

        When the line breaks, paths that arrived whole are kept.
        """
        await self._sign(paths)
        tries: list[Forward] = []
        await persistently(self._session, lambda: self._copy_once(paths, flags, tries))
        return sum(forward.sent for forward in tries)

    async def _copy_once(
        self, paths: Sequence[str], flags: Sequence[str], tries: list[Forward]
    ) -> None:
        breaks = self._session.breaks
        async with self._reached() as (store, forward):
            tries.append(forward)
            argv = self._options.copy_argv(paths, store)
            done = await process.run([*argv, *flags], deadline_secs=COPY_SECS)
            if not done.ok:
                await forward.settle()
                # There may be another connection by now.
                if not self._session.is_up or self._session.breaks > breaks:
                    raise ConnectionError("the connection broke")
                raise self._broken(done.stderr.decode("utf-8", "replace"), forward)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[tuple[str, Forward]]:
        """A store URI of here for the store there."""
        with socket_directory() as directory:
            socket = directory / "nix"
            opening = forwarded_command(self._session.connection, self._line(), socket)
            async with opening as forward:
                yield f"unix://{quote(str(socket))}", forward

    def _line(self) -> str:
        return shell_line(far_argv(self._session, nix.DAEMON_ARGV))

    async def _sign(self, paths: Sequence[str]) -> None:
        key = self._session.host.config.nix.signing_key_path
        if key is not None:
            argv = nix.sign_argv(paths, str(key))
            done = await process.run(argv, deadline_secs=SIGN_SECS)
            if not done.ok:
                raise InfrastructureError(
                    f"paths for {self._session.name} can't be signed: {done.reason()}",
                    f"`signing_key` of [hosts.{self._session.name}.nix] names {key}",
                )

    def _broken(self, said: str, forward: Forward) -> InfrastructureError:
        name = self._session.name
        if "lacks a signature" in said or "lacks a valid signature" in said:
            return InfrastructureError(
                f"Nix on {name} takes no unsigned paths from us",
                f"make our user there one of its `trusted-users`, or sign: `signing_key` of"
                f" [hosts.{name}.nix], and its public half among `trusted-public-keys` there",
            )
        lines = [line for line in said.splitlines() if line.strip()]
        why = lines[-1] if lines else "no reason"
        if forward.failure:
            why = str(forward.failure).replace(self._line(), shlex.join(nix.DAEMON_ARGV))
        return InfrastructureError(
            f"nothing can be copied to the Nix store of {name}: {why.strip()}",
            f"`pikaci doctor --host {name}` may tell more; is the disk there full?",
        )


class _Unfit(HostSetupError, InfrastructureError):  # noqa: N818 - an error, as its base says
    """A host that prepares can't be on."""

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__("", message, hint)


class _Telling:
    """Passes an agent's reports to an observer; each node's result once."""

    def __init__(self, observer: Observer, waiting: set[str]) -> None:
        self._observer = observer
        self._waiting = waiting
        self.sent: dict[str, int] = {}

    def hear(self, report: BuildReport) -> None:
        """Pass on what was reported."""
        if report.result is not None:
            self._finish(report.node_id, report.result)
        elif report.activity is not None:
            self._observer.active(report.activity)
        elif report.line is not None:
            self._observer.log(report.node_id, report.line)
        else:
            self._observer.building(report.node_id)

    def give_up(self, result: Realised) -> None:
        """Tell the same of every node that has no end yet."""
        for node_id in list(self._waiting):
            self._finish(node_id, result)

    def _finish(self, node_id: str, result: Realised) -> None:
        if node_id in self._waiting:
            self._waiting.remove(node_id)
            sent = self.sent.get(node_id)
            self._observer.finished(node_id, replace(result, copied_bytes=sent))
