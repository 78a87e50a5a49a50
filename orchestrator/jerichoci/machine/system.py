"""This machine, as Nix names it."""

from __future__ import annotations

import os
import sys

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


def own_system() -> str:
    """Nix's name of this machine, such as x86_64-linux."""
    machine = os.uname().machine
    return f"{_MACHINES.get(machine, machine)}-{sys.platform}"
