"""What jobs in VMs leave: nothing, or what was kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from e2e.project import processes
from jerichoci.runtime.tart.name import VmName, owner_part
from jerichoci.state.notes import vm_notes
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.state.layout import StateLayout
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


def assert_nothing_is_left(
    mac: Mac, state: StateLayout, *, theirs: Sequence[str] = (), notes: Sequence[str] = ()
) -> None:
    """No VM, note, process or scratch directory; `theirs` are VMs that somebody runs, `notes` those
    that stay for whoever reaps.
    """
    assert job_vms(mac) == {}
    assert sorted(note.name for note in vm_notes(state).all()) == sorted(notes)
    assert [path.name for path in state.root.glob("vms/.*")] == []
    assert list(state.root.glob("runs/*/scratch/*")) == []
    assert list(state.root.glob("runs/*/*.tmp-*")) == []
    assert _running(mac, theirs) == []


def _running(mac: Mac, theirs: Sequence[str]) -> list[str]:
    """Processes of the Mac's tart, but those that run somebody's VMs."""
    end = time.monotonic() + GONE_SECS
    while True:
        lines = processes(str(mac.bin))
        lines = [line for line in lines if not any(f" run {name} " in line for name in theirs)]
        if not lines or time.monotonic() > end:
            return lines
        time.sleep(LOOK_SECS)
