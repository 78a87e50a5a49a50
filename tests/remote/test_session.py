"""Sessions with an agent that a test plays itself, and with a host's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.nix.command import NixOptions
from jerichoci.placement.operations import guest_view, read, run, write
from jerichoci.placement.program import Program
from jerichoci.plan.hosts import HostConfig, RemoteHost, known_hosts_of_run, load_hosts
from jerichoci.remote import session as sessions
from jerichoci.remote.agent.agent_operations import (
    clock,
    ended_within,
    find_snapshot,
    open_run,
    read_artifacts,
    read_builds,
    reap,
    release,
    spawn,
    tools,
    wait,
)
from jerichoci.remote.agent.frame import LENGTHS
from jerichoci.remote.attachment import Attachment, GoneError
from jerichoci.remote.pool import SessionPool
from jerichoci.remote.session import Session
from jerichoci.remote.ssh.errors import HostLostError, UnreachableHostError
from remote.agent_alone import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from remote.far_host import FarHost

ENDED_SECS = 30.0
FACTS = {
    "boot_id": "boot",
    "work_dir": "/work",
    "system": "x86_64-linux",
    "uid": 0,
    "gid": 0,
    "python": "3.11.2",
    "environment": {},
    "job_path": "",
    "programs": {"bash": "/bin/bash", "git": "2.39"},
}
WELCOME = {"welcome": FACTS, "unknown": []}


class Played:
    """An attachment whose far end is the test."""

    connection = None

    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.sent: list[dict[str, Any]] = []
        self._frames: asyncio.Queue[tuple[dict[str, Any], bytes] | None] = asyncio.Queue()

    def send(self, frame: bytes) -> None:
        length, _ = LENGTHS.unpack_from(frame)
        values = json.loads(frame[LENGTHS.size : LENGTHS.size + length])
        self.sent.append(values)
        if values.get("end"):
            self.hang_up()

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        frame = await self._frames.get()
        if frame is None:
            raise EOFError("it was closed")
        return frame

    def say(self, values: Mapping[str, Any], data: bytes = b"") -> None:
        self._frames.put_nowait((dict(values), data))

    def hang_up(self) -> None:
        self._frames.put_nowait(None)

    def abort(self) -> None:
        self.hang_up()

    async def close(self) -> None:
        pass

    async def is_told(self, values: dict[str, Any]) -> None:
        """Wait for something to be said."""
        await until(lambda: values in self.sent)

    async def is_asked(self, do: str) -> int:
        """Wait for a request for something; its number."""
        await until(lambda: any(values.get("do") == do for values in self.sent))
        return next(int(values["id"]) for values in self.sent if values.get("do") == do)


class Stage:
    """What a session attaches to, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attached: list[Played] = []
        self.end: Exception | None = None
        """What attaching comes to instead."""
        monkeypatch.setattr(Attachment, "open", self._open)
        self.session = Session(RemoteHost("far", HostConfig(line_limit_secs=1)), NixOptions())

    async def _open(self, *_args: object, resume: bool) -> Played:
        del resume
        if self.end is not None:
            raise self.end
        self.attached.append(Played())
        return self.attached[-1]

    async def next(self, number: int = 1) -> Played:
        """The attachment of that number, as soon as it is there and greeted."""
        await until(lambda: len(self.attached) >= number and bool(self.attached[-1].sent))
        return self.attached[number - 1]

    async def opened(self) -> Played:
        opening = asyncio.create_task(self.session.open())
        played = await self.next()
        played.say(WELCOME)
        await opening
        return played


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    await stage.session.close()


async def test_what_is_asked_while_an_agent_is_greeted_is_not_forgotten(stage: Stage) -> None:
    (await stage.opened()).hang_up()
    played = await stage.next(2)
    asking = asyncio.create_task(stage.session.do(clock))
    await asyncio.sleep(0)
    played.say(WELCOME)
    played.say({"id": await played.is_asked("clock"), "ok": 7.5})
    assert await asking == 7.5


@pytest.mark.parametrize(
    "error", ["not an object", {}, {"kind": 5}, {"kind": "os", "errno": "5", "path": []}]
)
async def test_an_error_that_is_none_is_one_all_the_same(stage: Stage, error: object) -> None:
    played = await stage.opened()
    asking = asyncio.create_task(stage.session.do(tools))
    played.say({"id": await played.is_asked("tools"), "error": error})
    with pytest.raises((InfrastructureError, OSError), match="it doesn't say why"):
        await asking
    assert stage.session.is_open


SOME: dict[str, tuple[Any, ...]] = {
    "tools": (),
    "ended_within": ("job", 1.0),
    "wait": ("job", Path("/log")),
    "read_artifacts": ("job",),
    "read_builds": ("builds",),
    "find_snapshot": ("tree", Path("/run")),
    "reap": ([],),
    "guest_view": ([], Path("/lease")),
    "read": (Path("/x"), 9),
}
"""Arguments for operations."""
PIECE: dict[str, object] = {"parts": [], "is_last": True, "refused": [], "refused_count": 0}
ENDING = {"exit_code": 0, "signal": None, "started": True, "out_of_memory": False}


@pytest.mark.parametrize(
    ("do", "answer", "field"),
    [
        (tools, None, "answer"),
        (tools, {"nix": 5, "nix_daemon": None, "git": None}, "answer.nix is 5"),
        (tools, {"nix": None, "git": None}, "answer.nix_daemon is missing"),
        (ended_within, "yes", "answer is 'yes'"),
        (ended_within, 1, "answer is 1"),
        (wait, {"ending": ENDING | {"signal": "9"}, "log_bytes": 1}, "answer.ending.signal is '9'"),
        (wait, {"ending": ENDING, "log_bytes": True}, "answer.log_bytes is True"),
        (
            read_artifacts,
            PIECE | {"parts": ["a", 5]},
            "answer.parts has fewer bytes than announced",
        ),
        (read_artifacts, PIECE | {"parts": ["a\0"]}, "answer.parts is 'a\\x00'"),
        (
            read_builds,
            [{"node_id": "a", "result": {"outcome": "fine"}}],
            "answer.result.outcome is 'fine'",
        ),
        (find_snapshot, {"path": "/\0", "bases": [], "git": "/git"}, "answer.path"),
        (find_snapshot, {"path": None, "bases": [], "git": "git"}, "answer.git is 'git'"),
        (reap, {"runs": [1], "sessions": [], "left": [], "problems": []}, "answer.runs is 1"),
        (guest_view, {"path": "/v", "outputs": {"/nix/store/x": "\ud800"}}, "answer.outputs."),
        (read, 5, "answer has fewer bytes than announced"),
        (read, -1, "answer has fewer bytes than announced"),
    ],
)
async def test_an_invalid_answer_is_refused_by_field(
    stage: Stage, do: Callable[..., Any], answer: object, field: str
) -> None:
    played = await stage.opened()
    asking = asyncio.create_task(stage.session.do(do, *SOME[do.__name__]))
    played.say({"id": await played.is_asked(do.__name__), "ok": answer})
    message = re.escape(f"far sent an invalid answer to `{do.__name__}`: {field}")
    with pytest.raises(InfrastructureError, match=message):
        await asking


@pytest.mark.parametrize(
    "welcome", [None, {}, FACTS | {"work_dir": "here"}, FACTS | {"environment": {"PATH": "\0"}}]
)
async def test_a_welcome_that_is_none_is_no_way_to_a_host(stage: Stage, welcome: object) -> None:
    opening = asyncio.create_task(stage.session.open())
    (await stage.next()).say({"welcome": welcome, "unknown": []})
    with pytest.raises(UnreachableHostError, match="the connection to far broke: the welcome"):
        await opening


async def test_a_release_is_told_in_the_end_however_long_the_line_is_down(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "RELEASE_SECS", 0.1)
    played = await stage.opened()

    async def hold() -> None:
        async with stage.session.hold(open_run, "run"):
            played.hang_up()
            await stage.next(2)

    holding = asyncio.create_task(hold())
    played.say({"id": await played.is_asked("open_run"), "ok": None})
    await holding
    assert stage.session.owes
    played = await stage.next(2)
    played.say(WELCOME)
    played.say({"id": await played.is_asked("release"), "ok": None})
    await until(lambda: not stage.session.owes)


async def test_what_was_opened_for_nobody_is_let_go_of_and_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "RELEASE_SECS", 0.1)
    monkeypatch.setattr(sessions, "END_SECS", 0.1)
    played = await stage.opened()
    place = Path("/x")
    program = Program([], cwd=place, env={}, log=place, notes=place)
    spawning = stage.session.hold(spawn, program)
    for do, work in (
        ("wait", stage.session.do(wait, "job", place)),
        ("spawn", spawning.__aenter__()),
    ):
        asking = asyncio.create_task(work)
        number = await played.is_asked(do)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        played.say({"id": number, "ok": None})
        await played.is_told({"got": number})
        await asyncio.sleep(0)
        released = [values for values in played.sent if values.get("do") == "release"]
        assert bool(released) == (do == "spawn")
    played.say({"id": await played.is_asked("release"), "ok": None})


async def test_nothing_is_sent_that_is_too_long_for_the_agent(stage: Stage) -> None:
    await stage.opened()
    with pytest.raises(InfrastructureError, match="the request `write` to far is too long"):
        await stage.session.do(write, Path("/x"), bytes(65 * 2**20))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (GoneError("boot", died=True), "the agent on far was killed, and with it what ran there"),
        (GoneError("another", died=True), "far was rebooted while it was used"),
        (GoneError("boot", died=False), "the agent on far has ended: it was told to, or heard"),
        (RuntimeError("odd"), "pikaci itself failed to talk to far: RuntimeError('odd')"),
    ],
)
async def test_a_session_says_why_it_was_lost(stage: Stage, end: Exception, message: str) -> None:
    played = await stage.opened()
    stage.end = end
    asking = asyncio.create_task(stage.session.do(tools))
    await played.is_asked("tools")
    played.hang_up()
    with pytest.raises(HostLostError) as raised:
        await asking
    assert raised.value.message.startswith(message)


async def test_a_silent_agent_is_looked_for_by_another_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PING_SECS", 0.05)
    monkeypatch.setattr(sessions, "SILENT_SECS", 0.2)
    await stage.opened()
    (await stage.next(2)).say(WELCOME)


async def test_a_session_that_is_closed_while_it_opens_leaves_nothing(stage: Stage) -> None:
    opening = asyncio.create_task(stage.session.open())
    played = await stage.next()
    await stage.session.close()
    with pytest.raises(HostLostError, match="the session with far has ended"):
        await opening
    assert {"end": True} in played.sent


async def test_a_closed_session_connects_no_more(stage: Stage) -> None:
    await stage.opened()
    await stage.session.close()
    for work in (stage.session.do(tools), stage.session.open(), stage.session.connection()):
        with pytest.raises(HostLostError, match="the session with far has ended"):
            await work
    stage.session.post(release, "x")
    await stage.session.close()
    assert len(stage.attached) == 1


async def test_many_who_open_a_session_at_once_share_it(host: FarHost) -> None:
    known = known_hosts_of_run({}, load_hosts())[host.name]
    before = host.log().count("Accepted publickey")
    async with SessionPool() as pool:
        asked = [pool.session(known, NixOptions()).do(tools) for _ in range(10)]
        answers = await asyncio.gather(*asked)
    assert all(answer == answers[0] for answer in answers)
    assert host.log().count("Accepted publickey") == before + 1


async def test_a_pool_that_closes_ends_the_calls_that_run(host: FarHost) -> None:
    known = known_hosts_of_run({}, load_hosts())[host.name]
    async with SessionPool() as pool:
        session = pool.session(known, NixOptions())
        running = session.do(run, ["sleep", "600"], deadline_secs=600)
        asking = asyncio.create_task(running)
        await until(lambda: any("sleep 600" in line for line in host.processes()))
    with pytest.raises(HostLostError):
        await asking
    await until(lambda: host.processes() == [])
