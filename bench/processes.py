"""What a process has used, by /proc."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_ms(pid: int) -> float:
    """The CPU time that a process itself has used so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """The memory that a process has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(found) / 1024
