"""What tart answers, as the program words it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jerichoci.machine.process import Completed

if TYPE_CHECKING:
    from collections.abc import Collection


LIST_TRIPPED = (
    "Error: The file \N{LEFT DOUBLE QUOTATION MARK}disk.img\N{RIGHT DOUBLE QUOTATION MARK}"
    " couldn\N{RIGHT SINGLE QUOTATION MARK}t be opened because there is no such file.\n"
)
"""What `tart list` says, with exit code 1, of a VM that is deleted while it looks."""


def listed(*names: str, running: Collection[str] = (), suspended: Collection[str] = ()) -> str:
    """`tart list --format json` of VMs, those in `running` and `suspended` among them."""
    states = dict.fromkeys(names, "stopped")
    states |= dict.fromkeys(running, "running") | dict.fromkeys(suspended, "suspended")
    rows = [
        {
            "Source": "local",
            "Name": name,
            "Disk": 50,
            "Size": 21,
            "Accessed": "2026-01-31T23:59:59Z",
            "Running": state == "running",
            "State": state,
        }
        for name, state in states.items()
    ]
    return _printed(rows)


def described(system: str = "darwin") -> str:
    """`tart get --format json` of a VM that runs."""
    return _printed(
        {
            "OS": system,
            "CPU": 4,
            "Memory": 8192,
            "Disk": 50,
            "DiskFormat": "raw",
            "Size": "21.474",
            "Display": "1024x768",
            "Running": True,
            "State": "running",
        }
    )


def missing(name: str) -> str:
    """What is said on stderr, with exit code 2, of a VM that isn't there."""
    return f'the specified VM "{name}" does not exist\n'


def stopped(name: str) -> str:
    """What is said on stderr, with exit code 2, of a VM that should run and doesn't."""
    return f'VM "{name}" is not running\n'


def ended(stdout: str | bytes = b"", stderr: str | bytes = b"", exit_code: int = 0) -> Completed:
    """A tart that is over."""
    texts = [text.encode() if isinstance(text, str) else text for text in (stdout, stderr)]
    return Completed(("tart", "do", "it", "all", "--now"), exit_code, *texts)


def _printed(values: object) -> str:
    return json.dumps(values, indent=2, separators=(",", " : ")).replace("/", "\\/") + "\n"
