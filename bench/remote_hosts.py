"""What jobs on remote hosts cost: real sshd, in namespaces of their own, on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from paired import (
    ROUNDS,
    SLOW_ROUNDS,
    Command,
    Pair,
    at_most_more,
    at_most_times,
    line,
    milliseconds,
    pair,
    workshop,
    yes,
)
from snapshot import many_files

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "orchestrator"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from jerichoci.nix.command import NixOptions
from jerichoci.plan.hosts import HostsFile, RemoteHost
from jerichoci.record.record import Tool
from jerichoci.remote.pool import SessionPool
from jerichoci.remote.ssh.connection import connect
from jerichoci.run.engine import run_plan
from jerichoci.run.placements import Placements
from jerichoci.run.request import RunRequest, Source
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from plans import plan
from remote.away import away
from remote.far_host import FarHost, far_hosts
from remote.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode

JOBS, JOB_SECS, JOBS_AT_ONCE = 40, 1.0, 4
"""So many jobs, so long each, and the declared capacity of a host."""
LABEL = "bench"
OURS = ("git", "snapshots")
RUN_ID = "20260131T235959Z-0123abcd"


class Bench:
    """A state root, and hosts that its catalog would describe."""

    def __init__(self, place: Path, hosts: list[FarHost]) -> None:
        self.state = StateLayout(place / "state")
        self.state.make()
        tables = "\n".join(
            host.hosts_toml(labels=[LABEL], capacity={"cpus": 64, "jobs": JOBS_AT_ONCE})
            for host in hosts
        )
        self.hosts = HostsFile.model_validate(tomllib.loads(tables)).hosts
        self.pool = SessionPool()

    def host(self, number: int = 0) -> RemoteHost:
        """One of the hosts."""
        placements = Placements(self.state, NixOptions(), self.hosts, self.pool)
        name = sorted(self.hosts)[number]
        return placements.described()[name]

    @asynccontextmanager
    async def placement(self) -> AsyncIterator[Placement]:
        """The first host, in the hands of a run."""
        found = Placements(self.state, NixOptions(), self.hosts, self.pool).remote()[0]
        async with found.serving(RUN_ID):
            yield found

    async def run(self, tree: str, *nodes: ExecuteNode) -> float:
        """Run jobs that pass; the seconds that took."""
        asked = RunRequest(
            plan=plan(*nodes).with_(hosts=self.hosts),
            source=Source(tree=tree, snapshot_id=tree),
            tool=Tool(version="0"),
        )
        start = time.perf_counter()
        record = await run_plan(self.state, asked, [], pool=self.pool)
        took = time.perf_counter() - start
        if record.status is not Status.PASSED:
            raise RuntimeError(record.model_dump_json())
        return took


async def paired(floor: AsyncTask, subject: AsyncTask, rounds: int = ROUNDS) -> Pair:
    """As `paired.pair`, of what shares a connection."""
    await floor()
    await subject()
    floors, subjects = [], []
    for _ in range(rounds):
        floors.append(await _milliseconds(floor))
        subjects.append(await _milliseconds(subject))
    return Pair(statistics.median(floors), statistics.median(subjects))


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Task = Callable[[], object]
    AsyncTask = Callable[[], Awaitable[object]]


async def _milliseconds(task: AsyncTask) -> float:
    start = time.perf_counter()
    await task()
    return (time.perf_counter() - start) * 1000


async def small_jobs(place: Path, host: FarHost) -> None:
    """A no-op job, with the connection open and the snapshot there."""
    bench = Bench(place, [host])
    tree = (await take_snapshot(bench.state.root, _small_tree(place / "small"))).tree
    async with bench.pool:
        connection = await connect(bench.host())
        async with connection:

            async def once() -> object:
                return await connection.run("true", check=True)

            async def job() -> object:
                return await bench.run(tree, away("noop", "true", host))

            found = await paired(once, job)
    work = "no-op job on a remote host, connection open"
    print(at_most_more(work, "one exec on an open connection", found, 150))


def slow_line(place: Path, host: FarHost) -> None:
    """The same over a line of 100 ms, from the first connection on and with it open."""
    with Wire(host.address, host.port, delay_secs=0.05) as wire:
        bench = Bench(place, [host])
        bench.hosts = {
            name: config.with_(address="127.0.0.1", port=wire.port)
            for name, config in bench.hosts.items()
        }

        async def measure() -> tuple[float, float]:
            tree = (await take_snapshot(bench.state.root, _small_tree(place / "tree"))).tree
            async with bench.pool:
                first = await bench.run(tree, away("noop", "true", host))
                later = [await bench.run(tree, away("noop", "true", host)) for _ in range(5)]
                return first, statistics.median(later)

        first, later = asyncio.run(measure())
    print(line(("that job, over a line of 100 ms", "", "", f"{later * 1000:.0f}", "", "", "")))
    print(line(("the first on that line", "", "", f"{first * 1000:.0f}", "", "", "")))


class Snapshots:
    """A tree of 50,000 files on its way to a host, by tar and rsync and by pikaci."""

    def __init__(self, place: Path, host: FarHost) -> None:
        self._host = host
        self._tree = many_files(place / "tree")
        self._bench = Bench(place, [host])
        self._numbers = count()
        self._there = f"root@{host.address}"
        self._ssh = [
            *("ssh", "-q", "-p", str(host.port), "-i", str(host.client_key)),
            *("-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={_known_hosts(place, host)}"),
        ]
        self._known = asyncio.run(take_snapshot(self._bench.state.root, self._tree)).tree
        self.bytes: list[int] = []

    def new_directory(self) -> Path:
        """A directory on the host."""
        path = self._host.work_dir.parent / f"floor-{next(self._numbers)}"
        path.mkdir()
        return path

    def forget(self) -> None:
        """Let the host be one that has never seen the tree."""
        floors = self._host.work_dir.parent.glob("floor-*")
        for path in (*floors, *(self._host.work_dir / name for name in OURS)):
            shutil.rmtree(path, ignore_errors=True)
        os.sync()

    def tar(self) -> None:
        """All files by tar."""
        script = 'tar -C "$0" --exclude .git -cf - . | "$@"'
        far = [*self._ssh, self._there, f"tar -C {self.new_directory()} -xf -"]
        Command(["sh", "-c", script, str(self._tree), *far])()

    def first(self) -> None:
        """All files by pikaci, which has the tree's id."""
        asyncio.run(self._bring(self._known))

    def rsync(self, mirror: Path) -> None:
        """One changed file by rsync."""
        self._change()
        shell = " ".join(self._ssh)
        command = ["rsync", "-a", "--exclude", ".git", "-e", shell, f"{self._tree}/"]
        Command([*command, f"{self._there}:{mirror}/"])()

    def again(self) -> None:
        """One changed file by pikaci, from the tree as it is."""
        self._change()
        found = asyncio.run(take_snapshot(self._bench.state.root, self._tree)).tree
        asyncio.run(self._bring(found))

    def _change(self) -> None:
        (self._tree / "src/000/00/00000.txt").write_text(f"change {next(self._numbers)}\n")

    async def _bring(self, tree_id: str) -> None:
        before = _received(self._host)
        self._bench.pool = SessionPool()
        async with self._bench.pool, self._bench.placement() as placement:
            await placement.snapshot(tree_id)
        self.bytes.append(_received(self._host) - before)


def snapshots(place: Path, host: FarHost) -> None:
    """50,000 files, at first and with one changed."""
    both = Snapshots(place, host)
    found = _rounds(both.tar, both.first, both.forget)
    work = "first snapshot of 50,000 files on a remote host"
    print(at_most_times(work, "`tar`, piped into `ssh tar`", found, 0.8))
    first_bytes = statistics.median(both.bytes)
    both.bytes.clear()
    both.first()
    mirror = both.new_directory()
    found = pair(lambda: both.rsync(mirror), both.again, SLOW_ROUNDS)
    work = "the same with one file changed; taking it and a new connection are in it"
    print(at_most_times(work, "`rsync -a`", found, 1.0))
    later_bytes = statistics.median(both.bytes)
    share = later_bytes / first_bytes
    sizes = f"{first_bytes / 1e6:.1f} MB, then {later_bytes / 1e3:.0f} kB"
    cells = ("bytes of that, against the first", sizes, "", "", f"{share:.2%}", "1 %")
    print(line((*cells, yes(met=share < 0.01))))  # noqa: PLR2004 - the target


SNAPSHOT_ROUNDS = 7


def _rounds(floor: Task, subject: Task, before: Task) -> Pair:
    """As `paired.pair`, with something done before each that isn't timed."""
    found: dict[Task, list[float]] = {floor: [], subject: []}
    for _ in range(SNAPSHOT_ROUNDS + 1):
        for task, times in found.items():
            before()
            times.append(milliseconds(task))
    return Pair(*(statistics.median(times[1:]) for times in found.values()))


def many_jobs(place: Path, hosts: list[FarHost]) -> None:
    """Jobs that sleep, on one host and on two of the same capacity."""

    def run(bench: Bench) -> float:
        async def measure() -> float:
            tree = (await take_snapshot(bench.state.root, _small_tree(place / "tree"))).tree
            async with bench.pool:
                jobs = [away(f"j{n}", f"sleep {JOB_SECS}", labels=(LABEL,)) for n in range(JOBS)]
                return await bench.run(tree, *jobs)

        return asyncio.run(measure())

    one = run(Bench(place / "one", hosts[:1]))
    two = run(Bench(place / "two", hosts))
    cells = (
        f"{JOBS} jobs that sleep {JOB_SECS:g} s, on two hosts for {JOBS_AT_ONCE} each",
        "the same on one",
        f"{one * 1000:.0f}",
        f"{two * 1000:.0f}",
        f"{one / two:.2f} x the jobs a minute",
        "1.8 x",
    )
    print(line((*cells, yes(met=one / two >= 1.8))))  # noqa: PLR2004 - the target


def _small_tree(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "README").write_text("small\n")
    return path


def _known_hosts(place: Path, host: FarHost) -> Path:
    path = place / "known_hosts"
    path.write_text(host.known_hosts_line + "\n")
    return path


def _received(host: FarHost) -> int:
    """The bytes that came to a host over its cable."""
    text = host.run(["cat", "/proc/net/dev"]).stdout
    rows = [row.split() for row in text.splitlines() if ":" in row]
    return sum(int(row[1]) for row in rows if row[0] != "lo:")


def main() -> None:
    """Print the rows, where a host can be had."""
    if os.geteuid() != 0 or not Path("/usr/sbin/sshd").exists():
        print("no root, or no sshd: nothing to measure", file=sys.stderr)
        return
    with ExitStack() as stack:
        place = stack.enter_context(workshop())
        hosts = stack.enter_context(far_hosts(2))
        asyncio.run(small_jobs(place / "small", hosts[0]))
        slow_line(place / "slow", hosts[0])
        many_jobs(place / "many", hosts)
        snapshots(place / "snapshots", hosts[0])
        subprocess.run(["sync"], check=True)


if __name__ == "__main__":
    main()
