"""Notes of the VMs that one state root has made: `<state_root>/vms/<name>.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.state.notes import Note, Notes

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout


SHELL_LOCK = "shell.lock"
"""In an attempt's directory: held while somebody has a shell in its VM, which runs then."""


@dataclass(frozen=True, kw_only=True)
class VmNote(Note):
    """A VM."""


def vm_notes(state: StateLayout) -> Notes[VmNote]:
    """The notes of a state root."""
    return Notes(state.root / "vms", VmNote)
