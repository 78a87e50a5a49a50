"""A session with a host: what is asked of its agent is answered, however often the line breaks.

- When a connection breaks, another one is made, with back-off; nothing is lost, nor done twice.
- After `line_limit_secs` without a connection the session is lost: all that waits fails. It is
  lost at once if the agent is gone, or was another one before the host was booted.
- A session that was lost can be opened anew; it has another agent then.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError, is_disk_full
from jerichoci.placement.operation import Doing, Opening, Operation, P, T, named
from jerichoci.remote import host_refusals
from jerichoci.remote.agent.agent_operations import Tools, end_sessions, release, tools
from jerichoci.remote.agent.fault import error_from_json
from jerichoci.remote.agent.frame import pack
from jerichoci.remote.attachment import Attachment, GoneError, greet
from jerichoci.remote.requests import Held, Requests
from jerichoci.remote.ssh.errors import (
    HostError,
    HostKeyError,
    HostLostError,
    SilentSettingsError,
    UnreachableHostError,
)
from jerichoci.state.trace import span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asyncssh import SSHClientConnection

    from jerichoci.nix.command import NixOptions
    from jerichoci.plan.hosts import RemoteHost
    from jerichoci.remote.agent.survey import HostFacts

FIRST_BACKOFF_SECS, LAST_BACKOFF_SECS, BACKOFF_GROWTH = 0.1, 5.0, 1.6
PING_SECS = 10.0
SILENT_SECS = 120.0
"""An agent of which nothing came for so long is looked for by another connection. Answers to pings
may be that late where others fill a slow line."""
REFUSED_SECS = 60.0
"""How long a host may refuse who it has let in before: it does while it is booted."""
HURRIED_SECS = 10.0
"""How long a broken line is waited for when the run is being stopped."""
END_SECS = 15.0
"""For an agent to let go of everything, when its session ends."""
SEEN_SECS, SEEN_LOOKS = 20.0, 200
"""For a connection that broke to be seen as broken by its keep-alive."""
RELEASE_SECS = 60.0
"""For the host to let go of what was opened there."""
CLAIMS = frozenset({"lock", "open_artifacts", "open_builds", "slot"})
"""What makes nothing that a later operation could find: its release needn't be waited for."""


class Session:
    """A session with `host`, which connects when it is opened."""

    def __init__(self, host: RemoteHost, nix: NixOptions) -> None:
        self.host = host
        self.name = host.name
        self.id = ""
        """What names the agent of this session on its host; empty before it is opened."""
        self.lost: HostLostError | None = None
        """Why the line broke for good, if it did: nothing from before is there any more."""
        self._facts: HostFacts | None = None
        self._nix = nix
        self._requests = Requests(
            host.name, self._post, self._error, lambda handle: self.post(release, handle)
        )
        self._attachment: Attachment | None = None
        self._is_up = asyncio.Event()
        self._opening = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._limit_secs = float(host.config.line_limit_secs)
        self._hurried = asyncio.Event()
        self._releasing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._first: asyncio.Task[Attachment] | None = None
        self._hurried_at = 0.0
        self._broke_at = 0.0
        self._attaching: asyncio.Timeout | None = None
        """Of the attachment that is made anew."""
        self._tools: Tools | None = None
        self.copying = asyncio.Lock()
        """Held while something is copied to the host's Nix store: copies one after the other share
        what is the same, and a host gives a connection few channels."""
        self.breaks = 0
        """How often the connection broke."""

    @property
    def facts(self) -> HostFacts:
        """What the agent said of its host when it was last greeted."""
        if self._facts is None:
            raise RuntimeError(f"the session with {self.name} was never open")
        return self._facts

    @property
    def owes(self) -> bool:
        """Whether the host has yet to be told to release something."""
        return bool(self._releasing)

    @property
    def is_open(self) -> bool:
        """Whether there is an agent, and a line to it or hope for one."""
        return self._keeping is not None and self.lost is None

    async def open(self) -> None:
        """Connect, unless that was done."""
        async with self._opening:
            if self.is_open:
                return
            await self._leave()
            before, self.id = self.id, os.urandom(8).hex()
            try:
                attachment = await self._begin()
            except BaseException:
                self.id = before
                raise
            was_lost, self.lost = self.lost is not None, None
            self._hurried.clear()
            self._tools = None
            self._keeping = asyncio.create_task(self._keep(attachment))
            if was_lost:
                # It may wait for us yet, and hold what the next one needs.
                with suppress(PikaciError, OSError):
                    await self.do(end_sessions, [before])

    async def _begin(self) -> Attachment:
        """Attach for the first time, unless the session is closed meanwhile."""
        if self._is_closed:
            raise self._ended()
        self._first = asyncio.create_task(self._attach(resume=False))
        try:
            return await self._first
        except GoneError as error:
            raise UnreachableHostError(self.name, f"the agent on {self.name} ended") from error
        except asyncio.CancelledError:
            if self._is_closed:
                raise self._ended() from None
            raise
        finally:
            self._first = None

    def _ended(self) -> HostLostError:
        return HostLostError(self.name, f"the session with {self.name} has ended")

    async def do(self, what: Doing[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have the agent do an operation; its answer."""
        answer: T = await self._call(named(what), "", args, kwargs)
        return answer

    async def _call(
        self, operation: Operation, handle: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:  # noqa: ANN401 - as the operation has it
        if self.lost is not None:
            raise self.lost
        if self._keeping is None:
            await self.open()
        with span(operation.name, "host", host=self.name):
            return await self._requests.ask(operation, handle, args, kwargs)

    @asynccontextmanager
    async def hold(
        self, what: Opening[P], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[Held]:
        """Hold what an operation opens there."""
        operation = named(what)
        held = Held(os.urandom(8).hex(), is_over=operation.name in CLAIMS)
        try:
            await self._call(operation, held.handle, args, kwargs)
            yield held
        finally:
            task = self.post(release, held.handle)
            # The release is sent in the end, as long as the session lives.
            if not held.is_over:
                await asyncio.wait(
                    {task}, timeout=END_SECS if self._hurried.is_set() else RELEASE_SECS
                )

    def post(self, what: Doing[P, object], *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[None]:
        """Have the agent do something whether or not its answer is waited for."""
        task = asyncio.create_task(self._do_quietly(named(what), args, kwargs))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)
        return task

    async def _do_quietly(
        self, operation: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        if self.lost is None and self._keeping is not None:
            with suppress(PikaciError, OSError):
                await self._call(operation, "", args, kwargs)

    async def tools(self) -> Tools:
        """The versions of programs there, by name; None for what isn't there."""
        if self._tools is None:
            self._tools = await self.do(tools)
        return self._tools

    @property
    def is_up(self) -> bool:
        """Whether there is a line just now, as far as we know."""
        return self._attachment is not None

    async def connection(self) -> SSHClientConnection:
        """The connection there is, or the next one."""
        while True:
            if self.lost is not None:
                raise self.lost
            if self._keeping is None:
                await self.open()
            if self._attachment is not None:
                return self._attachment.connection
            await self._is_up.wait()

    async def is_still(self, connection: SSHClientConnection) -> bool:
        """Whether a connection is there after all; one that breaks takes a moment to be seen."""
        for _ in range(SEEN_LOOKS):
            if self._attachment is None or self._attachment.connection is not connection:
                return False
            await asyncio.sleep(SEEN_SECS / SEEN_LOOKS)
        return True

    def shorten_waits(self) -> None:
        """Wait for a broken line no longer than `HURRIED_SECS`, and for an answer to see it so."""
        if self._hurried.is_set():
            return
        self._limit_secs = min(self._limit_secs, HURRIED_SECS)
        self._hurried_at = time.monotonic()
        self._hurried.set()
        if self._attaching is not None and not self._attaching.expired():
            loop = asyncio.get_running_loop()
            self._attaching.reschedule(loop.time() + self._left(self._broke_at))

    def reset_waits(self) -> None:
        """Wait for a broken line as long as the host's settings say."""
        self._limit_secs = float(self.host.config.line_limit_secs)
        self._hurried.clear()

    async def close(self) -> None:
        """End the session for good; what the agent still holds, it lets go of."""
        if self._releasing and not self._is_closed:
            await asyncio.wait(self._releasing, timeout=END_SECS)
        self._is_closed = True
        if self._first is not None:
            self._first.cancel()
        async with self._opening:
            await self._leave()
            self.lost = self.lost or self._ended()
            self._is_up.set()
        if self._releasing:
            await asyncio.wait(self._releasing)

    async def _leave(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        attachment, self._attachment = self._attachment, None
        self._is_up.clear()
        if attachment is not None:
            attachment.send(pack({"end": True}))
            with suppress(TimeoutError, EOFError):
                async with asyncio.timeout(END_SECS):
                    while True:
                        await attachment.receive()
            await attachment.close()
        self._requests.fail(self._ended())

    def _post(self, frame: bytes) -> None:
        if self._attachment is not None:
            self._attachment.send(frame)

    async def _attach(self, *, resume: bool) -> Attachment:
        attachment = await Attachment.open(self.host, self._nix, self.id, resume=resume)
        try:
            waiting = self._requests.numbers()
            self._facts, unknown = await greet(attachment, waiting)
            # What was asked since the hello is news to it as well.
            unknown |= self._requests.numbers() - waiting
            self._requests.resend(attachment.send, unknown)
        except (EOFError, TimeoutError, KeyError, TypeError, ValueError) as error:
            await attachment.close()
            raise UnreachableHostError(
                self.name, f"the connection to {self.name} broke: {error or 'no answer'}"
            ) from error
        except BaseException:
            if not resume:
                attachment.send(pack({"end": True}))
            await attachment.close()
            raise
        self._attachment = attachment
        self._is_up.set()
        return attachment

    async def _keep(self, attachment: Attachment) -> None:
        """Take what the agent says; when the line breaks, make another one."""
        try:
            while True:
                await self._take_all(attachment)
                self.breaks += 1
                self._attachment = None
                self._is_up.clear()
                await attachment.close()
                attachment = await self._reconnect()
        except HostLostError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - nothing else would end what waits
            self._lose(
                HostLostError(self.name, f"pikaci itself failed to talk to {self.name}: {error!r}")
            )

    def _lose(self, error: HostLostError) -> None:
        self.lost = error
        self._requests.fail(error)
        self._is_up.set()

    async def _take_all(self, attachment: Attachment) -> None:
        """Take what comes by an attachment, until nothing can come any more."""
        watching = asyncio.create_task(self._watch(attachment))
        try:
            while True:
                self._requests.take(*await attachment.receive())
        except EOFError:
            pass
        finally:
            watching.cancel()

    async def _watch(self, attachment: Attachment) -> None:
        """Have the agent hear of us, and break an attachment that is silent."""
        while True:
            attachment.send(pack({"ping": True}))
            if self._hurried.is_set():
                await asyncio.sleep(PING_SECS / 10)
                limit, since = HURRIED_SECS, self._hurried_at
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_SECS):
                        await self._hurried.wait()
                limit, since = SILENT_SECS, 0.0
            if time.monotonic() - max(attachment.heard, since) > limit:
                attachment.abort()
                return

    async def _reconnect(self) -> Attachment:
        """Connect again."""
        self._broke_at = began = time.monotonic()
        backoff = FIRST_BACKOFF_SECS
        before = self.facts.boot_id
        while True:
            try:
                return await self._bounded(began)
            except GoneError as error:
                why = host_refusals.gone(self.name, before, error.boot_id, died=error.died)
                raise why from error
            except (UnreachableHostError, SilentSettingsError, TimeoutError) as error:
                last = getattr(error, "message", "no answer")
                if time.monotonic() - began >= self._limit_secs:
                    raise HostLostError(
                        self.name,
                        f"the connection to {self.name} was down for"
                        f" {time.monotonic() - began:.0f} s: {last}",
                        "when the host is back, `pikaci reap` removes what is left there",
                    ) from error
            except HostError as error:
                late = time.monotonic() - began > min(REFUSED_SECS, self._limit_secs)
                if late or isinstance(error, HostKeyError):
                    raise HostLostError(
                        self.name,
                        f"the connection to {self.name} broke, and it can't be made anew:"
                        f" {error.message}",
                        error.hint,
                    ) from error
            await asyncio.sleep(backoff)
            backoff = min(backoff * BACKOFF_GROWTH, LAST_BACKOFF_SECS)

    async def _bounded(self, began: float) -> Attachment:
        """Attach again, but not beyond the limit, which may come nearer meanwhile."""
        try:
            async with asyncio.timeout(self._left(began)) as self._attaching:
                return await self._attach(resume=True)
        finally:
            self._attaching = None

    def _left(self, began: float) -> float:
        return max(1.0, began + self._limit_secs - time.monotonic())

    def _error(self, values: object) -> Exception:
        error = error_from_json(values, self.name)
        if is_disk_full(error):
            return host_refusals.full(self.name, str(self.facts.work_dir))
        return error
