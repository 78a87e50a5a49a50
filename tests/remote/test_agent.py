"""The agent alone: what it does, how often, for how long, and what it needs for it."""

from __future__ import annotations

import ast
import asyncio
import io
import signal
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jerichoci
from e2e.project import wait_for
from jerichoci.remote.agent import agent_operations, frame
from jerichoci.remote.agent.agent_operations import open_builds, read_builds
from jerichoci.remote.agent.agent_work import AgentWork
from jerichoci.remote.agent.bundle import bundle
from jerichoci.remote.agent.frame import FrameError, pack, unpack
from remote.agent_alone import Agents, agents_below, until
from remote.away import away
from remote.session import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from jerichoci.nix.realised import Observer
    from remote.far_host import FarHost
    from runner import Runner

ENGINE = Path(jerichoci.__file__).parent
ELSEWHERE = {
    "jerichoci.plan.hosts",
    "jerichoci.runtime.incus.client",
    "jerichoci.plan.payload",
    "jerichoci.machine.foreground",
    "jerichoci.record.record",
}
"""What only an orchestrator imports, when it is asked for what agents are never asked for."""

values = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    max_size=3,
)


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with agents_below(tmp_path / "work") as agents:
        yield agents


@given(st.lists(st.tuples(values, st.binary()), max_size=3))
def test_frames_come_out_as_they_went_in(frames: list[tuple[dict[str, Any], bytes]]) -> None:
    stream = b"".join(pack(*each) for each in frames)
    assert asyncio.run(read_all(stream)) == frames


@given(values, st.binary(), st.data())
def test_a_frame_that_is_cut_off_is_none(
    content: dict[str, Any], data: bytes, draw: st.DataObject
) -> None:
    whole = pack(content, data)
    cut = whole[: draw.draw(st.integers(min_value=0, max_value=len(whole) - 1))]
    assert asyncio.run(read_all(cut)) == []


@given(st.binary())
def test_what_is_no_frame_is_said_to_be_none(noise: bytes) -> None:
    try:
        frames = asyncio.run(read_all(noise))
    except FrameError:
        return
    assert all(isinstance(content, dict) for content, _ in frames)


def test_a_frame_that_nobody_would_take_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "MOST_BYTES", 100)
    with pytest.raises(FrameError, match="a frame of"):
        pack({}, bytes(100))


def test_the_bundle_has_every_module_that_agents_import() -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle().data)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in names:
        if name.endswith(".py"):
            for module in imported(ENGINE / name):
                where = f"{name} imports {module}"
                if module.startswith("jerichoci"):
                    inner = "/".join(module.split(".")[1:])
                    is_bundled = names & {f"{inner}.py", f"{inner}/__init__.py".lstrip("/")}
                    assert module in ELSEWHERE or is_bundled, where
                else:
                    assert module.partition(".")[0] in sys.stdlib_module_names, where


async def test_an_agent_needs_nothing_but_the_standard_library(agents: Agents) -> None:
    line = await agents.greeted("one")
    line.ask(1, "write", b"content", path=str(agents.work / "file"), data=7)
    line.ask(2, "confinement")
    line.ask(3, "run", argv=["cat", str(agents.work / "file")], deadline_secs=10, cwd=None)
    await line.answer(1)
    answer, data = await line.answer(3)
    assert (answer["exit_code"], answer["stdout"], data) == (0, 7, b"content")


async def test_a_signal_that_is_ignored_at_the_login_ends_what_the_agent_starts(
    agents: Agents,
) -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    line = await agents.greeted("one")
    signal.signal(signal.SIGQUIT, before)
    line.ask(1, "run", argv=["sh", "-c", "kill -QUIT $$"], deadline_secs=10, cwd=None)
    answer, _ = await line.answer(1)
    assert answer["exit_code"] == -signal.SIGQUIT


async def test_an_answer_waits_for_whoever_comes_back(agents: Agents) -> None:
    line = await agents.greeted("one")
    line.ask(1, "run", argv=["sh", "-c", "sleep 1; echo done"], deadline_secs=10, cwd=None)
    line.ask(2, "tools")
    await line.answer(2)
    await line.kill()
    again = await agents.attach("one", resume=True)
    assert (await again.hello([1, 7]))["unknown"] == [7]
    assert (await again.answer(1))[1] == b"done\n"


async def test_what_is_asked_is_done_once_however_often_lines_are_replaced(
    agents: Agents,
) -> None:
    done = agents.work / "done"
    line = await agents.greeted("one")
    asked = range(1, 61)

    def ask(number: int) -> None:
        argv = ["sh", "-c", f"echo {number} >> {done}"]
        line.ask(number, "run", argv=argv, deadline_secs=10, cwd=None)

    for start in asked[::20]:
        batch = range(start, start + 20)
        for number in batch:
            ask(number)
        # The old line's requests are still on their way when the new one says hello.
        line = await agents.attach("one", resume=True)
        for number in (await line.hello(batch))["unknown"]:
            ask(number)
        for number in batch:
            ask(number)
        left = set(batch)
        while left:
            found, _ = await line.receive()
            line.send({"got": found["id"]})
            left.discard(found["id"])
    assert sorted(map(int, done.read_text().split())) == list(asked)


async def test_what_is_said_of_builds_comes_in_pieces_and_before_their_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_operations, "LOG_BYTES", 30)
    monkeypatch.setattr(agent_operations, "REPORT_BYTES", 10)
    monkeypatch.setattr(agent_operations, "Realiser", Talker)
    told = {"search_path": [], "nix_settings": [], "nix_offline": True, "capacity": {}}
    work = AgentWork(tmp_path, told)
    await work.hold("builds", open_builds(work, {}, tmp_path))
    pieces = [await read_builds(work, "builds") for _ in range(4)]
    assert [[report.line for report in piece] for piece in pieces[:2]] == [["0" * 9, "1"], ["2"]]
    assert [(report.node_id, report.line) for report in pieces[2] + pieces[3]] == [
        ("a", None),
        ("a", "? \n"),
    ]
    with pytest.raises(OSError, match="full"):
        await read_builds(work, "builds")
    await work.release("builds")


async def test_an_agent_that_hears_nothing_ends_with_all_that_it_holds(
    agents: Agents, marker: str
) -> None:
    line = await agents.greeted("one", limit_secs=3.0)
    runs, log = agents.work / "runs", agents.work / "log"
    line.ask(1, "open_run", handle="run", name="run")
    room = {"cpus": None, "memory_mib": None}
    line.ask(2, "slot", handle="slot", wanted=room)
    await line.answer(2)
    argv = ["sh", "-c", f": {marker}; sleep 600"]
    work = str(agents.work)
    program = {"argv": argv, "env": {}, "cwd": work, "log": str(log), "notes": work}
    line.ask(3, "spawn", handle="job", program=program)
    await line.answer(3)
    await asyncio.to_thread(wait_for, lambda: is_running(marker))
    assert [path.name for path in runs.iterdir()] == ["run"]
    # As long as it is spoken to it stays.
    for _ in range(10):
        await asyncio.sleep(0.5)
        line.send({"ping": True})
    assert is_running(marker)
    await line.kill()
    await until(lambda: not agents.session("one").exists())
    assert not is_running(marker)
    assert list(runs.iterdir()) == []
    assert list((agents.work / "slots" / "claims").iterdir()) == []


async def test_an_agent_that_nobody_greets_ends(agents: Agents) -> None:
    line = await agents.attach("one", limit_secs=1.0)
    await line.ended()


async def test_a_line_that_is_replaced_is_hung_up(agents: Agents) -> None:
    old = await agents.greeted("one")
    new = await agents.greeted("one", resume=True)
    await old.ended()
    new.ask(1, "tools")
    await new.answer(1)


async def test_a_relay_that_nobody_reads_from_ends_when_it_is_replaced(agents: Agents) -> None:
    old = await agents.greeted("one")
    assert old.process.stdout is not None
    old.process.stdout._transport.pause_reading()  # type: ignore[attr-defined]
    argv = ["head", "-c", "8000000", "/dev/zero"]
    for number in range(1, 5):
        old.ask(number, "run", argv=argv, deadline_secs=10, cwd=None)
    await asyncio.sleep(1.0)
    new = await agents.attach("one", resume=True)
    assert (await new.hello([2]))["unknown"] == []
    assert len((await new.answer(2))[1]) == 8_000_000
    await old.ended()


async def test_garbage_ends_a_line_and_not_the_agent(agents: Agents) -> None:
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", pack({"waiting": 7}), pack({}), b"\0" * 8):
        line = await agents.greeted("one")
        line.send_bytes(pack({"id": "x"}) + garbage)
        await line.kill()
        raw = await agents.attach("one", resume=True)
        raw.send_bytes(garbage)
        await raw.kill()
    line = await agents.greeted("one", resume=True)
    line.ask(1, "tools")
    await line.answer(1)


async def test_an_answer_that_is_too_long_is_an_error(agents: Agents) -> None:
    line = await agents.greeted("one")
    argv = ["head", "-c", "70000000", "/dev/zero"]
    line.ask(1, "run", argv=argv, deadline_secs=30, cwd=None)
    found, _ = await line.receive()
    assert found["error"]["message"].startswith("the answer to `run` is too long")


async def test_an_agent_that_was_killed_is_told_from_one_that_ended(agents: Agents) -> None:
    line = await agents.greeted("one")
    line.ask(1, "run", argv=["sh", "-c", "kill -KILL $PPID"], deadline_secs=10, cwd=None)
    await line.ended()
    gone = await agents.attach("one", resume=True)
    assert (gone.said["gone"], gone.said["died"]) == (True, True)
    line = await agents.greeted("two")
    line.send({"end": True})
    await line.ended()
    await until(lambda: not agents.session("two").exists())
    gone = await agents.attach("two", resume=True)
    assert (gone.said["gone"], gone.said["died"]) == (True, False)


async def test_a_login_shell_may_print_what_it_likes_first(runner: Runner, host: FarHost) -> None:
    noise = 'seq 100; echo "on stderr" >&2; printf "pikaci-agen\\n\\0\\377 no end of line: "\n'
    (host.home / ".bashrc").write_text(noise)
    async with connected(host) as connection:
        done = await connection.run("true", encoding=None)
    assert isinstance(done.stdout, bytes)
    assert done.stdout.endswith(b"no end of line: ")
    ended = await runner.run(away("job", "echo here", host))
    assert ended.said("job") == ["here"]


class Talker:
    """Says some things at once, and one a while later; then the disk is full."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - a Realiser's
        self._observer: Observer = args[3]

    async def run(self, _stop: object) -> None:
        for line in ("0" * 9, "1", "2"):
            self._observer.log("a", line)
        await asyncio.sleep(0.05)
        self._observer.building("a")
        await asyncio.sleep(0.05)
        self._observer.log("a", "\udcff\0 \n")
        raise OSError("the disk is full")


async def read_all(stream: bytes) -> list[tuple[dict[str, Any], bytes]]:
    reader = asyncio.StreamReader()
    reader.feed_data(stream)
    reader.feed_eof()
    frames = []
    try:
        while True:
            frames.append(await unpack(reader))
    except EOFError:
        return frames


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, wherever in it."""
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if is_module(inner) else node.module


def running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def is_module(name: str) -> bool:
    path = ENGINE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def is_running(marker: str) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                return True
        except OSError:
            continue
    return False
