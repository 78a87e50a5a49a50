"""What jobs in VMs print and leave: nothing, or what was kept."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2e.project import processes, wait_for
from jerichoci.runtime.tart.name import VmName
from jerichoci.state.ids import owner_part
from jerichoci.state.ledger import tart_guests
from jerichoci.status import PhaseName, Status
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.state.layout import StateLayout
    from runner import Ended, Runner
    from tart.mac import Mac

GONE_SECS = 10.0
"""For what was killed to be gone, on a busy machine."""
LOOK_SECS = 0.02


def vm_name(state: StateLayout, job_id: str = "a", attempt: int = 1, run_id: str = RUN_ID) -> str:
    """The name that the VM of an attempt has."""
    return str(VmName(owner_part(state.owner_id()), run_id, job_id, attempt))


def job_vms(mac: Mac) -> dict[str, str]:
    """What the VMs of jobs do."""
    return {name: state for name, state in mac.vms().items() if name.startswith("pikaci.")}


def said(state: StateLayout, name: str = "a", attempt: int = 1) -> str:
    """What a job of the run has printed so far."""
    path = state.run(RUN_ID).attempt(name, attempt) / "guest.log"
    return path.read_text() if path.exists() else ""


def has_begun(state: StateLayout, phase: PhaseName) -> bool:
    """Whether a job of the run is in a phase, or was."""
    events = state.run(RUN_ID).events
    return events.exists() and f'"{phase}"' in events.read_text()


async def cancel_when(
    come: Callable[[], object],
    runner: Runner,
    job: ExecuteNode,
    **request: Any,  # noqa: ANN401 - fields of the request
) -> Ended:
    """Run a job, and ask for the run's end when something has come."""
    running = asyncio.create_task(runner.run(job, run_id=RUN_ID, **request))
    await asyncio.to_thread(wait_for, come)
    runner.state.run(RUN_ID).cancel_request.touch()
    ended = await running
    assert ended.job("a").status is Status.CANCELLED, ended.log("a")
    return ended


def assert_nothing_is_left(mac: Mac, state: StateLayout, *, theirs: Sequence[str] = ()) -> None:
    """No VM, note, process or scratch directory; `theirs` are VMs that another user runs."""
    assert job_vms(mac) == {}
    assert list(tart_guests(state).all()) == []
    assert [path.name for path in state.root.glob("elsewhere/*/*.tmp-*")] == []
    assert list(state.root.glob("runs/*/scratch/*")) == []
    assert list(state.root.glob("runs/*/*.tmp-*")) == []
    assert _running(mac, theirs) == []


def _running(mac: Mac, theirs: Sequence[str]) -> list[str]:
    """Processes of the Mac's tart, but those that run the VMs `theirs`."""
    end = time.monotonic() + GONE_SECS
    while True:
        lines = processes(str(mac.bin))
        lines = [line for line in lines if not any(f" run {name} " in line for name in theirs)]
        if not lines or time.monotonic() > end:
            return lines
        time.sleep(LOOK_SECS)


@contextmanager
def counting_vms(mac: Mac) -> Iterator[list[int]]:
    """How many VMs run, counted all the time."""
    seen: list[int] = []
    is_over = threading.Event()

    def count() -> None:
        while not is_over.wait(LOOK_SECS):
            seen.append(list(mac.vms().values()).count("running"))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()
