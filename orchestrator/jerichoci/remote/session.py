"""A session with a host: what is asked of its agent is answered, however often the line breaks.

- A request has a number and is kept until its answer is there. When a connection breaks, another
  one is made, with back-off; then the agent says what it never got, and says again what was missed.
- After `line_limit_secs` without a connection the session is lost: all that waits fails. It is
  lost at once if the agent is gone, or was another one before the host was booted.
- A session that was lost can be opened anew; it has another agent then.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from jerichoci.errors import InfrastructureError, PikaciError, is_disk_full
from jerichoci.placement import operations  # noqa: F401 - named by what is sent
from jerichoci.placement.operation import named
from jerichoci.placement.wire import Arrived, WireError
from jerichoci.remote import host_refusals
from jerichoci.remote.agent.facts import HostFacts
from jerichoci.remote.agent.fault import raised
from jerichoci.remote.agent.frame import FrameError, pack
from jerichoci.remote.agent.operations import end_sessions, release, tools
from jerichoci.remote.attachment import Attachment, GoneError, Wanted, hello
from jerichoci.remote.ssh.errors import (
    HostError,
    HostKeyError,
    HostLostError,
    UnreachableHostError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from asyncssh import SSHClientConnection

    from jerichoci.nix.command import NixOptions
    from jerichoci.placement.operation import Doing, Opening, Operation, P, T
    from jerichoci.plan.hosts import RemoteHost
    from jerichoci.remote.agent.operations import Tools

ResultT = TypeVar("ResultT")

FIRST_BACKOFF_SECS, LAST_BACKOFF_SECS, BACKOFF_GROWTH = 0.1, 5.0, 1.6
PING_SECS = 10.0
SILENT_SECS = 120.0
"""An agent of which nothing came for so long is looked for by another connection. Answers to pings
may be that late where others fill a slow line."""
WELCOME_SECS = 30.0
"""For an agent on a busy host to say who it is."""
REFUSED_SECS = 60.0
"""How long a host may refuse who it has let in before: it does while it is booted."""
HEARD_EVERY = 256
"""An agent is told that it may forget what it said after so much of it."""
HURRIED_SECS = 10.0
"""How long a broken line is waited for when the run was told to end."""
END_SECS = 15.0
"""For an agent to let go of everything, when its session ends."""
AGENT_MARGIN_SECS = 30.0
"""How much longer an agent waits for us than we for it."""
SEEN_SECS, SEEN_LOOKS = 20.0, 200
"""For a connection that broke to be seen as broken by its keep-alive."""
RELEASE_SECS = 60.0
"""For the host to let go of what was opened there."""
CLAIMS = frozenset({"lock", "open_artifacts", "slot"})
"""What makes nothing that a later operation could find: its release needn't be waited for."""


@dataclass
class _Request:
    """A request on its way."""

    operation: Operation
    frame: bytes
    answer: asyncio.Future[Any]
    report: Callable[[Any], None] | None
    handle: str
    """What it opens something under, if it does."""
    heard: int = 0


@dataclass
class Held:
    """What an operation opened."""

    handle: str
    is_over: bool = False
    """Whether there is nothing left to wait for when it is let go of."""


class Session:
    """A session with `host`, which connects when it is opened."""

    def __init__(self, host: RemoteHost, nix: NixOptions) -> None:
        self.host = host
        self._facts: HostFacts | None = None
        self._nix = nix
        self._id = ""
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Request] = {}
        self._attachment: Attachment | None = None
        self._is_up = asyncio.Event()
        self._opening = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._lost: HostLostError | None = None
        self._limit_secs = float(host.config.line_limit_secs)
        self._hurried = asyncio.Event()
        self._releasing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._first: asyncio.Task[Attachment] | None = None
        self._hurried_at = 0.0
        self._tools: Tools | None = None
        self.copying = asyncio.Lock()
        """Held by whoever copies to the host's Nix store: one after the other shares what is the
        same, and a host gives a connection few channels."""
        self.breaks = 0
        """How often the connection broke."""

    @property
    def facts(self) -> HostFacts:
        """What the agent said of its host when it was last greeted."""
        if self._facts is None:
            raise RuntimeError(f"the session with {self.name} was never open")
        return self._facts

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def id(self) -> str:
        """What names the agent of this session on its host; empty before it is opened."""
        return self._id

    @property
    def is_lost(self) -> bool:
        """Whether the line broke for good, so that nothing from before is there any more."""
        return self._lost is not None

    @property
    def lost(self) -> HostLostError | None:
        """Why, if so."""
        return self._lost

    @property
    def owes(self) -> bool:
        """Whether the host wasn't told yet that something is needed no longer."""
        return bool(self._releasing)

    @property
    def is_open(self) -> bool:
        """Whether there is an agent, and a line to it or hope for one."""
        return self._keeping is not None and self._lost is None

    async def open(self) -> None:
        """Connect, unless that was done."""
        async with self._opening:
            if self.is_open:
                return
            await self._leave()
            before, self._id = self._id, os.urandom(8).hex()
            try:
                attachment = await self._begin()
            except BaseException:
                self._id = before
                raise
            was_lost, self._lost = self._lost is not None, None
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
        if self._lost is not None:
            raise self._lost
        if self._keeping is None:
            await self.open()
        number = next(self._numbers)
        values, data, report = operation.request(args, kwargs)
        if operation.holds:
            values["handle"] = handle
        try:
            frame = pack({"id": number, "do": operation.name, "args": values}, data)
        except FrameError as error:
            raise InfrastructureError(
                f"the request `{operation.name}` to {self.name} is too long: {error}"
            ) from error
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Request(operation, frame, answer, report, handle)
        self._post(frame)
        try:
            return await answer
        except asyncio.CancelledError:
            self._post(pack({"cancel": number}))
            raise

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
            # It is told in the end, as long as there is a session.
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
        if self._lost is None and self._keeping is not None:
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
            if self._lost is not None:
                raise self._lost
            if self._keeping is None:
                await self.open()
            if self._attachment is not None:
                return self._attachment.connection
            await self._is_up.wait()

    async def persistently(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Do what needs a connection of its own; again, if that breaks meanwhile."""
        import asyncssh

        while True:
            connection = await self.connection()
            try:
                return await work()
            except HostLostError:
                raise
            except (asyncssh.Error, OSError) as error:
                broken = error
            if await self._is_still(connection):
                why = getattr(broken, "reason", None) or broken
                if isinstance(broken, asyncssh.ChannelOpenError):
                    raise host_refusals.no_channel(self.name, str(why)) from broken
                raise InfrastructureError(f"a channel to {self.name} broke: {why}") from broken

    async def _is_still(self, connection: SSHClientConnection) -> bool:
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
            self._lost = self._lost or self._ended()
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
        self._fail(self._ended())

    def _post(self, frame: bytes) -> None:
        if self._attachment is not None:
            self._attachment.send(frame)

    async def _attach(self, *, resume: bool) -> Attachment:
        settings = {
            "limit_secs": self.host.config.line_limit_secs + AGENT_MARGIN_SECS,
            "search_path": list(self.host.config.search_path),
            "nix_settings": [list(pair) for pair in self._nix.settings],
            "nix_offline": self._nix.offline,
            "capacity": self.host.config.capacity.model_dump(),
        }
        attachment = await Attachment.open(self.host, Wanted(self._id, resume, settings))
        try:
            waiting = {number: request.heard for number, request in self._waiting.items()}
            attachment.send(hello(waiting))
            async with asyncio.timeout(WELCOME_SECS):
                values, _ = await attachment.receive()
            self._facts = Arrived(b"").take(HostFacts, values["welcome"], "the welcome")
            # What was asked since the hello is news to it as well.
            unknown = {int(number) for number in values["unknown"]}
            self._say_again(attachment, unknown | (self._waiting.keys() - waiting.keys()))
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

    def _say_again(self, attachment: Attachment, unknown: set[int]) -> None:
        """Send what the agent never got, and what was taken back while nobody could tell it."""
        for number, request in list(self._waiting.items()):
            if not request.answer.done():
                if number in unknown:
                    attachment.send(request.frame)
            elif number in unknown:
                del self._waiting[number]
            else:
                attachment.send(pack({"cancel": number}))

    async def _keep(self, attachment: Attachment) -> None:
        """Take what the agent says; when the line breaks, make another one."""
        try:
            while True:
                await self._take_all(attachment)
                self.breaks += 1
                self._attachment = None
                self._is_up.clear()
                await attachment.close()
                attachment = await self._mend()
        except HostLostError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - nobody else would end what waits
            self._lose(
                HostLostError(self.name, f"pikaci itself failed to talk to {self.name}: {error!r}")
            )

    def _lose(self, error: HostLostError) -> None:
        self._lost = error
        self._fail(error)
        self._is_up.set()

    async def _take_all(self, attachment: Attachment) -> None:
        """Take what comes by an attachment, until nothing can come any more."""
        watching = asyncio.create_task(self._watch(attachment))
        try:
            while True:
                self._take(*await attachment.receive())
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

    async def _mend(self) -> Attachment:
        """Connect again."""
        began = time.monotonic()
        backoff = FIRST_BACKOFF_SECS
        before = self.facts.boot_id
        while True:
            try:
                return await self._bounded(began)
            except GoneError as error:
                raise self._gone(before, error) from error
            except (UnreachableHostError, TimeoutError) as error:
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
        attaching = asyncio.create_task(self._attach(resume=True))
        hurried = asyncio.create_task(self._hurried.wait())
        try:
            left = began + self._limit_secs - time.monotonic()
            await asyncio.wait(
                {attaching, hurried}, timeout=max(1.0, left), return_when=asyncio.FIRST_COMPLETED
            )
            if not attaching.done():
                left = began + self._limit_secs - time.monotonic()
                await asyncio.wait({attaching}, timeout=max(1.0, left))
            if not attaching.done():
                attaching.cancel()
                await asyncio.wait({attaching})
            if attaching.cancelled():
                raise TimeoutError
            return attaching.result()
        finally:
            hurried.cancel()
            if not attaching.done():
                attaching.cancel()
                await asyncio.gather(attaching, return_exceptions=True)

    def _gone(self, before: str | None, error: GoneError) -> HostLostError:
        if before and error.boot_id and before != error.boot_id:
            return HostLostError(
                self.name,
                f"{self.name} was rebooted while it was used",
                "what ran there is gone; run it again",
            )
        if error.died:
            return HostLostError(
                self.name,
                f"the agent on {self.name} was killed, and with it what ran there",
                "had the host no memory left, or does it end what people leave running when they"
                " log out? (`loginctl enable-linger`)",
            )
        return HostLostError(
            self.name,
            f"the agent on {self.name} has ended: it was told to, or heard nothing of us for too"
            " long",
            "did this machine sleep, or was pikaci stopped?",
        )

    def _take(self, values: dict[str, Any], data: bytes) -> None:
        number = values.get("id")
        request = self._waiting.get(number) if isinstance(number, int) else None
        if request is None:
            return
        if "say" in values:
            self._listen(number, request, values["say"])  # type: ignore[arg-type]  # it is an int
            return
        del self._waiting[number]  # type: ignore[arg-type]  # likewise
        self._post(pack({"got": number}))
        if request.answer.done():
            # Whoever asked has gone; what was opened for them is nobody's.
            if request.operation.holds and "ok" in values:
                self.post(release, request.handle)
        elif "ok" in values:
            try:
                request.answer.set_result(request.operation.result(values["ok"], data))
            except WireError as error:
                request.answer.set_exception(self._invalid("answer", request, error))
        elif "error" in values:
            request.answer.set_exception(self._error(values["error"]))
        else:
            request.answer.set_exception(
                HostLostError(self.name, f"the agent on {self.name} gave up")
            )

    def _error(self, values: object) -> Exception:
        error = raised(values, self.name)
        if is_disk_full(error):
            return host_refusals.full(self.name, str(self.facts.work_dir))
        return error

    def _listen(self, number: int, request: _Request, said: object) -> None:
        request.heard += 1
        if request.heard % HEARD_EVERY == 0:
            self._post(pack({"heard": number, "count": request.heard}))
        if request.report is None or request.answer.done():
            return
        try:
            request.report(request.operation.report(said))
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            if isinstance(error, WireError):
                error = self._invalid("report", request, error)
            request.answer.set_exception(error)
            self._post(pack({"cancel": number}))

    def _invalid(self, what: str, request: _Request, error: WireError) -> InfrastructureError:
        return InfrastructureError(
            f"{self.name} sent an invalid {what} to `{request.operation.name}`: {error}"
        )

    def _fail(self, error: HostLostError) -> None:
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            if not request.answer.done():
                request.answer.set_exception(error)
