"""Lines that are slow, that stall, and that break with a word: all through a wire of the tests'."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from jerichoci.status import PhaseName, Status
from remote.away import away
from remote.breaking import COMMAND, AtPhase, nothing_is_left_on, went_on
from remote.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

DELAY_SECS = 0.1
MANY_BYTES = 50 * 1000 * 1000
PRINT_MANY = f"""
import hashlib, os, sys
digest = hashlib.sha256()
printed = row = 0
while printed < {MANY_BYTES}:
    line = (b"%d " % row) * 20 + b"\\n"
    digest.update(line)
    sys.stdout.buffer.write(line)
    printed += len(line)
    row += 1
sys.stdout.buffer.flush()
open(os.environ["PIKACI_ARTIFACTS"] + "/digest", "w").write(digest.hexdigest())
"""


@pytest.fixture
def wire(far_host: FarHost, hosts_config: WriteHosts) -> Iterator[Wire]:
    """The only way to the host that the hosts file knows."""
    with Wire(far_host.address, far_host.port, delay_secs=DELAY_SECS) as wire:
        hosts_config(far_host, address=wire.address, port=wire.port)
        yield wire


async def test_a_job_runs_over_a_line_with_round_trips_of_a_fifth_of_a_second(
    runner: Runner, far_host: FarHost, wire: Wire
) -> None:
    ended = await runner.run(away("job", COMMAND, far_host))
    went_on(ended, far_host)
    assert wire.connections == 1


@pytest.mark.parametrize("phase", [PhaseName.PREPARE_RUNTIME, PhaseName.WAIT_FOR_COMPLETION])
async def test_a_line_that_stalls_for_seconds_is_not_broken(
    runner: Runner, far_host: FarHost, wire: Wire, phase: PhaseName
) -> None:
    with later(4.0, wire.resume) as resume:

        def stall() -> None:
            wire.stall()
            resume()

        ended = await runner.run(away("job", COMMAND, far_host), sinks=[AtPhase(phase, stall)])
    went_on(ended, far_host)
    assert wire.connections == 1


@pytest.mark.parametrize(
    "phase", [PhaseName.LAUNCH_GUEST, PhaseName.WAIT_FOR_COMPLETION, PhaseName.COLLECT_ARTIFACTS]
)
async def test_a_line_that_breaks_with_a_word_is_mended(
    runner: Runner, far_host: FarHost, wire: Wire, phase: PhaseName
) -> None:
    with later(2.0, wire.join) as join:

        def cut() -> None:
            wire.cut()
            join()

        ended = await runner.run(away("job", COMMAND, far_host), sinks=[AtPhase(phase, cut)])
    went_on(ended, far_host)
    assert wire.connections >= 2


async def test_a_log_of_50_mb_is_whole_however_often_the_line_breaks(
    runner: Runner, far_host: FarHost, wire: Wire
) -> None:
    wire.delay_secs = 0.005
    done = threading.Event()

    def break_it_now_and_then() -> None:
        while not done.wait(1.0):
            wire.cut()
            wire.join()

    breaking = threading.Thread(target=break_it_now_and_then)
    sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, breaking.start)
    # With a program that is quicker than the line.
    node = away("job", f"python3 -c '{PRINT_MANY}'; sleep 3", far_host)
    ended = await runner.run(node, sinks=[sink])
    done.set()
    breaking.join()
    assert ended.record.status is Status.PASSED, ended.job("job")
    log = (ended.layout.attempt("job", 1) / "host.log").read_bytes()
    printed = b"".join(line for line in log.splitlines(keepends=True) if b"pikaci> " not in line)
    digest = (ended.layout.attempt("job", 1) / "artifacts/files/digest").read_text()
    assert wire.connections >= 4
    assert hashlib.sha256(printed).hexdigest() == digest
    nothing_is_left_on(far_host)


@contextmanager
def later(secs: float, act: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """What has something done `secs` later, or when the block ends."""
    timers: list[threading.Timer] = []

    def start() -> None:
        timers.append(threading.Timer(secs, act))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.join()
