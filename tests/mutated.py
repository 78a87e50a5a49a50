"""Damage to what lies below a state root, and commands that read it: no more than a run is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.project import Done, in_process
from jerichoci.errors import PikaciError
from jerichoci.record.record import AttemptRecord, PreparedOutput, PreparedPlace
from jerichoci.record.store import RunStore
from jerichoci.remote.host_notes import HostNote, UsedHost, host_notes, used_hosts
from jerichoci.state.layout import StateLayout
from jerichoci.state.ledger import GuestNote, incus_guests, tart_guests
from jerichoci.status import Outcome, Status
from plans import commanded, job, plan
from records import finished, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GONE = "20260101T000000Z-00000000"
GOOD = "20260101T000000Z-00000001"
OVER = "20260101T000000Z-00000002"
DEAD = "20260101T000000Z-00000003"
DEADLINE_SECS = 120
"""For a command; a reader that waits for a FIFO would wait for ever."""
DEEP = 200_000
FILES = (
    *("run.json", "plan.json", "prepared-outputs.json", "events.jsonl", "owner.lock"),
    *("jobs/it/status.json", "jobs/it/attempts", "jobs", "scratch"),
    *("scratch/it-1/group.json", "reserve", "cancel", "gcroots"),
)
"""Of a run."""
ROOT_FILES = (
    *("order", "elsewhere/incus/g.json", "elsewhere/tart/v.json", "slots/claims/0123456789abcdef"),
    *("elsewhere/hosts/h--20260101T000000Z-00000000.json", "elsewhere/used-hosts/h.json"),
    *("elsewhere", "elsewhere/incus", "elsewhere/hosts"),
)
"""Of a state root."""
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**40, "", "x", [], {}, [None], [[]], {"a": {}}, "\0", "\ud800"),
    *("../../../x", "2026-01-31T23:59:59", "0000-00-00", "\x1b[2J\n", "x" * 100_000),
    *("running", "passed", float("nan"), float("inf"), [1] * 1000, "9" * 5000),
)


@dataclass(frozen=True)
class Mutation:
    """Something done to a file: what, and how to do it."""

    name: str
    apply: Callable[[Path], None]


def _over(data: bytes) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        _clear(path)
        path.write_bytes(data)

    return apply


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    with suppress(FileExistsError, NotADirectoryError):
        path.parent.mkdir(parents=True, exist_ok=True)


def _instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        _clear(path)
        make(path)

    return apply


def _bind(path: Path) -> None:
    # A socket's path is short, so that it is made where one stands.
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as link:
            link.bind(path.name)
    finally:
        os.fchdir(before)
        os.close(before)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


WHOLE = (
    Mutation("is nothing", _clear),
    Mutation("is empty", _over(b"")),
    Mutation("is null", _over(b"null\n")),
    Mutation("is a list", _over(b"[]\n")),
    Mutation("is an object", _over(b"{}\n")),
    Mutation("is half an object", _over(b'{"status": "runn')),
    Mutation("is no UTF-8", _over(b'{"status": "\xff\xfe"}\n')),
    Mutation("is UTF-16", _over('{"status": "running"}'.encode("utf-16"))),
    Mutation("nests lists", _over(b"[" * DEEP + b"]" * DEEP)),
    Mutation("nests objects", _over(b'{"a":' * DEEP + b"1" + b"}" * DEEP)),
    Mutation("nests below", _over(b'{"status":"running","x":' + b"[" * 500 + b"]" * 500 + b"}\n")),
    Mutation("has half a pair", _over(b'{"status": "passed", "target_id": "\\ud800"}\n')),
    Mutation("has many digits", _over(b'{"status": "passed", "jobs": ' + b"9" * 5000 + b"}\n")),
    Mutation("is a directory", _instead(lambda path: path.mkdir())),
    Mutation("is a FIFO", _instead(os.mkfifo)),
    Mutation("is a socket", _instead(_bind)),
    Mutation("is a link to itself", _instead(lambda path: path.symlink_to(path))),
    Mutation("is a link to nowhere", _instead(lambda path: path.symlink_to(path.parent / "no"))),
    Mutation("is a link to zeros", _instead(lambda path: path.symlink_to("/dev/zero"))),
    Mutation("is huge", _instead(_sparse)),
)


def odd_ends() -> Iterator[Mutation]:
    """Last events that say how a run ended, and don't."""
    ids = (7, "../../x", "it")
    odd: list[object] = [None, 7, {"it": 1}, [7], [{}], *([{"id": name}] for name in ids)]
    statuses: list[object] = ["passed", None, []]
    for jobs in odd:
        for status in statuses:
            end = {"status": status, "jobs": jobs}
            yield Mutation(f"ends with jobs {jobs}, {status}", partial(_append_end, end))


def _append_end(end: dict[str, object], events: Path) -> None:
    run_id = events.parent.name
    event = {"event": "run_finished", "seq": 9, "run_id": run_id, "run": {"run_id": run_id, **end}}
    with events.open("a") as file:
        file.write(json.dumps(event) + "\n")


def inside(choose: random.Random) -> Mutation:
    """Something within a file: a value, a key, or a few bytes."""
    seed = choose.getrandbits(64)
    return Mutation(f"is changed by {seed:#x}", lambda path: _change(path, seeded(seed)))


def seeded(seed: int) -> random.Random:
    """Choices that are the same again for the same seed."""
    return random.Random(seed)  # noqa: S311 - nothing is secret


def _change(path: Path, choose: random.Random) -> None:
    data = path.read_bytes() if path.is_file() else b"{}"
    if choose.random() < 0.3:
        _over(_changed_bytes(data, choose))(path)
        return
    lines = data.splitlines() if path.suffix == ".jsonl" else [data]
    number = choose.randrange(len(lines)) if lines else 0
    with suppress(ValueError):
        values = json.loads(lines[number] if lines else b"{}")
        for _ in range(choose.randint(1, 3)):
            _change_value(values, choose)
        lines[number : number + 1] = [json.dumps(values).encode()]
    _over(b"\n".join(lines) + b"\n")(path)


def _changed_bytes(data: bytes, choose: random.Random) -> bytes:
    at = choose.randrange(len(data) + 1)
    junk = choose.randbytes(choose.randint(0, 4))
    return data[:at] + junk + data[at + choose.choice([0, 1, 1, 100, len(data)]) :]


def _change_value(values: Any, choose: random.Random) -> None:  # noqa: ANN401 - JSON
    """Give one place of a JSON value, at any depth, another value, or take it away."""
    places: list[tuple[Any, Any]] = []
    waiting = [values]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        places += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys if isinstance(inner[key], dict | list)]
    if not places:
        return
    inner, key = choose.choice(places)
    if choose.random() < 0.2:
        del inner[key]
    else:
        inner[key] = deepcopy(choose.choice(ODD))  # a later change may be within it


class Victim:
    """A state root with three runs: one whose records stay as they are, one over, one dead."""

    def __init__(self, root: Path) -> None:
        self.pattern = StateLayout(root / "pattern")
        self.state = StateLayout(root / "state")
        self.pattern.make()
        finished(self.pattern, GOOD)
        self._note()
        of = plan(commanded("dep", "true"), job("it", needs=["dep"]), job("after", after=["it"]))
        for run_id in (OVER, DEAD):
            with writing(self.pattern, of, run_id) as writer:
                attempt = AttemptRecord(
                    number=1,
                    status=Status.RUNNING,
                    host_log_path="jobs/it/attempts/1/host.log",
                    guest_log_path="jobs/it/attempts/1/guest.log",
                    started_at=writer.record.created_at,
                )
                writer.update_job(writer.job("it").after(attempt))
                place = PreparedPlace(host="h", outcome=Outcome.PASSED, how="command", path="/x")
                row = PreparedOutput(node_id="dep", type="host_command", outcome="passed")
                writer.write_outputs([row.with_(places=[place])])
                log = writer.layout.attempt("it", 1)
                log.mkdir(parents=True)
                (log / "host.log").write_text("hello\n")
                note = writer.layout.scratch / "it-1" / "group.json"
                note.parent.mkdir()
                note.write_text(json.dumps({"pid": 2**30, "started": "1"}))
                if run_id == OVER:
                    jobs = [row.with_(status=Status.PASSED) for row in writer.record.jobs]
                    end = {"status": Status.PASSED, "finished_at": writer.record.created_at}
                    writer.finish(writer.record.with_(**end, jobs=jobs))

    def _note(self) -> None:
        """Notes of guests and hosts, of a run that is gone."""
        vm = GuestNote(name="v", run_id=GONE, job_id="it")
        tart_guests(self.pattern).write(vm)
        where = {"socket": "/nonexistent", "project": "default"}
        guest = {**asdict(vm), **where, "name": "g"}
        incus_guests(self.pattern).write(GuestNote(**guest))
        used_hosts(self.pattern).write(UsedHost("h", {"address": "h", "port": 22}))
        note = HostNote("h", GONE, "0" * 16, {"address": "h"}, 2**30, "1")
        host_notes(self.pattern).write(note)

    def wrong(self, run_id: str, damage: Iterable[tuple[str, Mutation]]) -> list[str]:
        """Damage a file of a copy of the run for each, or a file of all; read all there is.

        What went wrong?
        """
        shutil.rmtree(self.state.root, ignore_errors=True)
        shutil.copytree(self.pattern.root, self.state.root, symlinks=True)
        damaged = {}
        for number, (name, mutation) in enumerate(damage):
            copy = self._copied(run_id, number) if name in FILES else run_id
            file = Path("runs", copy, name) if name in FILES else Path(name)
            mutation.apply(self.state.root / file)
            damaged[copy] = f"{file} {mutation.name}"
        every = ("list", "--limit", "99")
        found = [self._whole(*every, "--json", shown=damaged), self._whole(*every, shown=damaged)]
        for copy, how in damaged.items():
            found += [f"{how}: {why}" for why in self._read(copy)]
        found.append(self._whole("gc", "--keep-runs", "0", "--no-hosts"))
        found += [f"gc left {path.name}" for path in self.state.runs.iterdir()]
        return [why for why in found if why]

    def _copied(self, run_id: str, number: int) -> str:
        """A copy of a run, under an id of its own."""
        name = f"20260102T000000Z-{number:08x}"
        shutil.copytree(self.state.runs / run_id, self.state.runs / name, symlinks=True)
        for path in self.state.runs.joinpath(name).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes().replace(run_id.encode(), name.encode()))
        return name

    def _whole(self, *args: str, shown: Iterable[str] = ()) -> str | None:
        """What is wrong with a command about all runs."""
        done = self._command(*args)
        missing = [run_id for run_id in (GOOD, *shown) if run_id not in done.out]
        is_wrong = done.code or done.is_our_fault or (args[0] == "list" and missing)
        return f"{args}, {missing}: {done}" if is_wrong else None

    def _read(self, run_id: str) -> Iterator[str]:
        """What is wrong with the commands about a run, and with what Python reads of it."""
        try:
            for args in (
                *((name, run_id) for name in ("status", "logs", "prepared-outputs")),
                ("status", run_id, "--json"),
                ("logs", run_id, "--metadata-json"),
                ("logs", run_id, "--follow"),
                ("failures", run_id, "--json"),
                ("report", run_id),
                ("cancel", run_id),
            ):
                done = self._command(*args)
                is_long = len(done.err.splitlines()) > 3
                if done.code not in {0, 2, 75} or done.is_our_fault or is_long:
                    yield f"{args}: {done}"
                if args[-1] == "--json" and done.code == 0:
                    json.loads(done.out, parse_constant=_no_json)
            self._load(run_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
            yield f"{type(error).__name__}: {error}"

    def _command(self, *args: str) -> Done:
        with _deadline():
            return in_process(*args, "--state-root", str(self.state.root))

    def _load(self, run_id: str) -> None:
        store = RunStore(self.state.root)
        for load in (
            store.load_run_record,
            store.load_plan,
            store.load_prepared_outputs,
            store.load_run_bundle,
            lambda run_id: list(store.follow_events(run_id)),
        ):
            with suppress(PikaciError):
                load(run_id)
        json.dumps(store.load_run_bundle(run_id), allow_nan=False).encode()


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@contextmanager
def _deadline() -> Iterator[None]:
    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError(f"not within {DEADLINE_SECS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE_SECS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
